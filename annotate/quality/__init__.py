"""How far the judgments can be trusted: agreement, reliability of each person, and what pulls their votes."""
