"""The tables. One file a noun; every invariant a database constraint."""

from annotate.models.adjudication import Adjudication
from annotate.models.background import Worker
from annotate.models.chat import Chat, ChatEndpoint, ChatReply, ChatTurn
from annotate.models.comparison import Candidate, Comparison, Prompt, Response
from annotate.models.dataset import Dataset
from annotate.models.demonstration import Demonstration, DemonstrationVersion, Writing
from annotate.models.gold import GoldQuestion
from annotate.models.judgment import Assessment, Judgment, JudgmentVersion, Skip
from annotate.models.model_version import ModelVersion
from annotate.models.project import GuidelineVersion, Membership, Project
from annotate.models.quality_report import QualityReport
from annotate.models.round import Round
from annotate.models.run import Run, RunEvent
from annotate.models.slot import Reservation, Slot
from annotate.models.tally import DayTally, PersonTally, ProjectTally
from annotate.models.user import User

__all__ = [
    "Adjudication",
    "Assessment",
    "Candidate",
    "Chat",
    "ChatEndpoint",
    "ChatReply",
    "ChatTurn",
    "Comparison",
    "Dataset",
    "DayTally",
    "Demonstration",
    "DemonstrationVersion",
    "GoldQuestion",
    "GuidelineVersion",
    "Judgment",
    "JudgmentVersion",
    "Membership",
    "ModelVersion",
    "PersonTally",
    "Project",
    "ProjectTally",
    "Prompt",
    "QualityReport",
    "Reservation",
    "Response",
    "Round",
    "Run",
    "RunEvent",
    "Skip",
    "Slot",
    "User",
    "Worker",
    "Writing",
]
