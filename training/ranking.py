"""Preference rows that rank the same responses, as one example each: every response is computed once.

Training on K(K−1)/2 pairs of one prompt in separate batches would see each response K−1 times an epoch, and overfit
(Ouyang et al. 2022, section 3.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.records import Message, Preference


@dataclass(frozen=True)
class RankedGroup:
    """A prompt, its distinct responses, and per row (place of chosen, place of rejected, the row's index)."""

    messages: list[Message]
    responses: tuple[str, ...]
    comparisons: tuple[tuple[int, int, int], ...]

    @property
    def index(self) -> int:
        """Of the first row."""
        return self.comparisons[0][2]


def rank_groups(rows: Sequence[tuple[int, Preference]], most: int) -> list[RankedGroup]:
    """(index, row) pairs as groups, in the order of their first rows.

    Rows belong together if a chain of shared responses to the same prompt joins them, as long as the group has at most
    `most` responses; a row that would join two groups to a larger one stays alone.
    """
    members: dict[int, list[tuple[int, Preference]]] = {}
    group_of_response: dict[tuple, int] = {}
    responses_of_group: dict[int, set] = {}
    for index, row in rows:
        prompt = tuple((message["role"], message["content"]) for message in row.messages)
        keys = {(prompt, row.chosen), (prompt, row.rejected)}
        joined = sorted({group_of_response[key] for key in keys if key in group_of_response})
        union = keys.union(*(responses_of_group[group] for group in joined))
        if len(union) > most:
            members[index] = [(index, row)]
            continue
        home = joined[0] if joined else index
        members.setdefault(home, []).append((index, row))
        for other in joined[1:]:
            members[home] += members.pop(other)
            del responses_of_group[other]
        responses_of_group[home] = union
        group_of_response.update(dict.fromkeys(union, home))
    return [_group(sorted(group, key=lambda member: member[0])) for _, group in sorted(members.items())]


def _group(rows: list[tuple[int, Preference]]) -> RankedGroup:
    place: dict[str, int] = {}
    comparisons = []
    for index, row in rows:
        chosen = place.setdefault(row.chosen, len(place))
        rejected = place.setdefault(row.rejected, len(place))
        comparisons.append((chosen, rejected, index))
    return RankedGroup(rows[0][1].messages, tuple(place), tuple(comparisons))
