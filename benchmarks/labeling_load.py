"""How the labeling page holds under many annotators, and how long a submit with its next pair takes.

Real HTTP through the real page: log-in form, session cookie, CSRF token, the form's POST as the page sends it, and the
next pair out of the answer. gunicorn with two workers; SQLite, and a PostgreSQL server of its own (fsync off, as SQLite
in WAL mode does not sync every commit either). Prints Markdown.

    python benchmarks/labeling_load.py [--part a b c d] [--database sqlite postgresql] [--sizes 1000 1000000]
                                       [--keep DIR]

a  50 annotators at once over 500 comparisons that want 3 judgments each; 5 % of the submits are sent twice at the same
   moment, 5 % of the pages are lost before the submit, 5 % of the people never come back. Then the rows are counted.
b  one annotator: median time from sending a judgment to having the next pair, by number of comparisons.
c  8 annotators at once: judgments a second.
d  one annotator again, where much is judged already: the cases of labeling_cases.py, by number of slots.
"""

import argparse
import contextlib
import http.client
import os
import random
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

PASSWORD = "correct-horse-battery"
SLUG = "load"
PEOPLE, SHARE, COMPARISONS, WANTED = 50, 0.05, 500, 3
# The project's shortest lease: so long does a pair of somebody who never comes back stay reserved.
LEASE = 30
RESPONSES = 9
WARM_UP, MEASURED = 20, 200
CLIENTS, SECONDS = 8, 15.0

PROMPT = "Could you explain to me, in a few sentences, why the sky is blue and the sunset red? Case {}."
ANSWER = """Sunlight is made of **all colors**, and air scatters the short waves more than the long ones.

1. By day the light comes through little air: what reaches you from elsewhere in the sky was scattered, so it is blue.
2. In the evening it comes through much more air, and most of the blue is gone before it reaches you.

The scattering goes with the fourth power of the frequency, so violet would win if the sun sent more of it. ({})
"""


class Page:
    """One annotator's browser: a connection that stays open, cookies, and the key of the pair on the screen."""

    def __init__(self, port: int, username: str, slug: str = SLUG):
        self.port, self.username, self.slug, self.cookies, self.key = port, username, slug, {}, None
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._request("GET", "/login/")
        status, _ = self._request("POST", "/login/", {"username": username, "password": PASSWORD})
        assert status == 302, f"{username} could not log in: {status}"

    def open(self) -> bool:
        """Loads the whole page; False where it shows no pair."""
        status, html = self._request("GET", f"/p/{self.slug}/label/")
        assert status == 200, status
        return self._see(html)

    def judge(self, rating: int, key: str | None = None) -> bool:
        """Sends a judgment as the page does; False where no pair came back."""
        fields = {"key": key or self.key, "rating": rating}
        status, html = self._request("POST", f"/p/{self.slug}/label/", fields, {"HX-Request": "true"})
        assert status == 200, (status, html[:500])
        return self._see(html)

    def twin(self) -> "Page":
        """A second connection of the same browser."""
        other = object.__new__(Page)
        other.port, other.username, other.slug = self.port, self.username, self.slug
        other.cookies, other.key = dict(self.cookies), self.key
        other.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return other

    def _see(self, html: str) -> bool:
        found = re.search(r'data-key="([0-9a-f-]{36})"', html)
        self.key = found and found[1]
        self.waiting = "every 15s" in html
        return found is not None

    def _request(self, method: str, path: str, fields: dict | None = None, headers: dict | None = None):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **(headers or {})}
        body = None
        if fields is not None:
            body = urllib.parse.urlencode(fields)
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": self.cookies.get("csrftoken", "")
            }  # fmt: skip
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server closed an idle connection: once more on a new one, as browsers do. Sending again is safe.
            self.connection.close()
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        text = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                cookie = value.split(";", 1)[0]
                self.cookies[cookie.split("=", 1)[0]] = cookie.split("=", 1)[1]
        return answer.status, text


@contextlib.contextmanager
def site(database: str, kept: Path | None):
    """A database, a fresh one unless it is `kept`, and a site on it; yields the port."""
    from tests.servers import accepts_connections, free_port, postgres, wait_for

    with contextlib.ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefloop-load-")))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        os.environ |= {"PREFLOOP_VAR": str(folder / "var"), "DEBUG": "0", "SECRET_KEY": secrets.token_hex()}
        os.environ.pop("DATABASE_URL", None)
        if database == "postgresql":
            os.environ["DATABASE_URL"] = stack.enter_context(postgres(folder))
        port = free_port()
        options = f"--bind 127.0.0.1:{port} --workers 2 --worker-class gthread --threads 4 --keep-alive 75".split()
        command = [sys.executable, "-m", "gunicorn", "annotate.wsgi", "--log-level", "warning", *options]
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, check=True)
        server = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_for(lambda: accepts_connections(port), "gunicorn")
            yield port
        finally:
            from django.db import connections

            connections.close_all()
            server.terminate()
            server.wait(timeout=30)


def prepare(*, comparisons: int, wanted: int, people: int) -> None:
    """Fills the database through the services that imports use."""
    from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
    from annotate.models import Membership, User
    from annotate.projects import start_project

    project = start_project(name="Load", slug=SLUG, judgments_wanted=wanted, lease_seconds=LEASE)
    account = User(username="template")
    account.set_password(PASSWORD)
    users = User.objects.bulk_create(User(username=f"p{n}", password=account.password) for n in range(people))
    Membership.objects.bulk_create(Membership(project=project, user=user, role="annotator") for user in users)
    made, number = 0, 0
    responses_each = RESPONSES if comparisons > 10_000 else 2
    while made < comparisons:
        texts = [[{"role": "user", "content": PROMPT.format(number + n)}] for n in range(200)]
        prompts = add_prompts(project, texts).rows
        new = [NewResponse(prompt, ANSWER.format(n)) for prompt in prompts for n in range(responses_each)]
        rows = add_responses(project, new).rows
        pairs = [
            pair
            for start in range(0, len(rows), responses_each)
            for pair in pairs_of(rows[start : start + responses_each])
        ][: comparisons - made]
        made += add_comparisons(project, pairs).created
        number += len(prompts)


def promise(port: int) -> str:
    """Part a."""
    from annotate.labeling.counters import recount
    from annotate.models import Judgment, Project, Slot

    prepare(comparisons=COMPARISONS, wanted=WANTED, people=PEOPLE)
    counts, errors, lock = Counter(), [], threading.Lock()
    begin = time.monotonic()
    deadline = begin + 150

    def work(number: int) -> None:
        rng, own = random.Random(number), Counter()
        try:
            page = Page(port, f"p{number}")
            leaves_after = rng.randrange(1, 30) if number < PEOPLE * SHARE else None
            shown = page.open()
            while time.monotonic() < deadline:
                if not shown:
                    if not page.waiting:
                        break
                    time.sleep(1)
                elif own["judged"] == leaves_after:
                    own["gone"] += 1
                    break
                elif rng.random() < SHARE:
                    own["lost pages"] += 1
                elif rng.random() < SHARE:
                    twin = page.twin()
                    thread = threading.Thread(target=twin.judge, args=(4, page.key))
                    thread.start()
                    shown = page.judge(1)
                    thread.join()
                    own["judged"] += 1
                    own["sent twice"] += 1
                    continue
                else:
                    shown = page.judge(rng.randint(1, 4))
                    own["judged"] += 1
                    continue
                shown = page.open()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        with lock:
            counts.update(own)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(PEOPLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin

    rows = list(Judgment.objects.values_list("comparison", "annotator", "slot"))
    each = Counter(comparison for comparison, _, slot in rows if slot)
    doubled = len(rows) - len({(comparison, annotator) for comparison, annotator, _ in rows})
    exactly = sum(count == WANTED for count in each.values())
    extra = sum(not slot for *_, slot in rows)
    open_slots = Slot.objects.filter(free_from__isnull=False).count()
    wrong = recount(Project.objects.get(slug=SLUG))
    assert not errors, errors[:3]
    return (
        f"{PEOPLE} annotators, {counts['sent twice']} submits sent twice, {counts['lost pages']} pages lost, "
        f"{counts['gone']} people gone for good: **{exactly} of {COMPARISONS} comparisons have exactly {WANTED} "
        f"judgments** ({len(rows)} stored, {counts['judged']} sent, {doubled} doubled, {extra} extra, "
        f"{open_slots} slots open); running totals {'wrong: ' + wrong[0] if wrong else 'right'}; {seconds:.0f} s."
    )


def latencies(port: int) -> list[float]:
    """Part b, in milliseconds."""
    page, times = Page(port, "p0"), []
    assert page.open()
    for number in range(WARM_UP + MEASURED):
        begin = time.perf_counter()
        assert page.judge(number % 4 + 1)
        times.append(1000 * (time.perf_counter() - begin))
    return times[WARM_UP:]


def throughput(port: int) -> tuple[float, float]:
    """Part c: judgments a second, and for how many seconds; it ends before SECONDS when a client finds nothing left."""
    pages = [Page(port, f"p{number}") for number in range(CLIENTS)]
    counts, used_up, errors = [0] * CLIENTS, threading.Event(), []
    begin = time.monotonic()

    def work(number: int) -> None:
        page = pages[number]
        try:
            shown = page.open()
            while shown and not used_up.is_set() and time.monotonic() < begin + SECONDS:
                shown = page.judge(1)
                counts[number] += 1
            if not shown:
                used_up.set()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            used_up.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    seconds = time.monotonic() - begin
    return sum(counts) / seconds, seconds


def measure(part: str, database: str, size: int, keep: str) -> None:
    """One part on a fresh site, in a process of its own, for Django connects to one database."""
    kept = Path(keep).resolve() / f"{database}-{part}-{size}" if keep and part in "bd" else None
    with site(database, kept) as port:
        import django

        django.setup()
        if part == "a":
            return print(promise(port))
        if part == "d":
            return measure_cases(port, size, kept and kept / "loaded")
        loaded = load(size, kept and kept / "loaded-in-seconds")
        if part == "b":
            times = latencies(port)
            tail = sorted(times)[int(0.95 * len(times))]
            figures = f"{statistics.median(times):.1f} | {tail:.1f} | {loaded:.0f} | {size / loaded:,.0f}"
            print(f"| {database} | {size:,} | {figures} |")
        else:
            rate, seconds = throughput(port)
            print(f"| {database} | {size:,} | {rate:.0f} | {seconds:.0f} |")


def measure_cases(port: int, slots: int, note: Path | None) -> None:
    """Part d."""
    from benchmarks import labeling_cases

    if not (note and note.exists()):
        begin = time.monotonic()
        labeling_cases.load(slots, PASSWORD)
        print(f"loaded in {time.monotonic() - begin:.0f} s", flush=True)
        if note:
            note.touch()
    labeling_cases.measure(lambda person, slug: Page(port, person, slug), slots)


def load(size: int, note: Path | None) -> float:
    """Seconds that it took to load the comparisons: now, or, by the `note` of it, when the database was made."""
    from django.db import connection

    if note and note.exists():
        return float(note.read_text())
    begin = time.monotonic()
    prepare(comparisons=size, wanted=1, people=CLIENTS)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    seconds = time.monotonic() - begin
    if note:
        note.write_text(str(seconds))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--part", nargs="+", choices=["a", "b", "c", "d"], default=["a", "b", "c"])
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 1_000_000])
    parser.add_argument("--keep", default="", metavar="DIR", help="keeps the databases of b and d, uses them again")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return measure(given.one[0], given.one[1], int(given.one[2]), given.keep)
    headings = {
        "b": "| database | comparisons | median ms | 95 % ms | loaded in s | a second |\n| --- |" + " ---: |" * 5,
        "c": "| database | comparisons | judgments a second | seconds |\n| --- |" + " ---: |" * 3,
    }
    sizes = {"a": [0], "b": given.sizes, "c": [max(5_000, min(given.sizes))], "d": [max(given.sizes)]}
    for part in given.part:
        print(f"\n{headings.get(part, '')}".rstrip(), flush=True)
        for database in given.database:
            for size in sizes[part]:
                if part in "ad":
                    print(f"{database}: ", end="", flush=True)
                one = ["--one", part, database, str(size), "--keep", given.keep]
                subprocess.run([sys.executable, __file__, *one], check=True)


if __name__ == "__main__":
    main()
