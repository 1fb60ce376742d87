"""Text as cells of spreadsheets, which compute what begins like a formula, e.g. one that sends the sheet elsewhere."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, in Excel, LibreOffice and Google Sheets (OWASP, "CSV injection"); also in full width."""


def as_cell(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would compute it as a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def as_data_cell(text: str) -> str:
    """As `as_cell`, but numbers, e.g. "-1.5", stay as they are, for files that programs read, too."""
    try:
        float(text)
    except ValueError:
        return as_cell(text)
    return text
