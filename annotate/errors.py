"""What a person did that cannot be done, in a sentence for that person."""


class UserError(Exception):
    """`message` is shown as it is; `field` names the input that is wrong, where there is one."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.message = message
        self.field = field
