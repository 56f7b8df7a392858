"""The encoding of text that is not Unicode and in Latin letters, by how well its words fit languages.

Bytes of words are decoded in each encoding. A reading fits if every character outside ASCII is a letter of one
language where it can stand (a Spanish `ñ` before a vowel), or a sign where signs stand.
"""

import re
from collections.abc import Sequence
from functools import cache

_VOWELS = "aeiouáéíóúAEIOUÁÉÍÓÚ"

_WESTERN = (
    "[äöüßÄÖÜ]",  # German
    # French
    "[àâéêëîïôœûüæÿÀÂÇÉÈÊËÎÔŒÛÙ]|ç(?=[aouâôû])|è(?=s?(?![a-z])|[a-zç]{1,3}e)|ù(?![a-z])",
    f"[áéíóúüÁÉÍÓÚÜ]|[ñÑ](?=[{_VOWELS}])|[¿¡]",  # Spanish
    # Portuguese
    "[áâàéêíóôúüÁÂÀÉÊÍÓÔÚÜ]|[çÇ](?=[aouãõáâóúAOUÃÕ])|ã(?=[oeis]|(?![a-z]))|õ(?=e)|Ã(?=[OEIS]|(?![A-Z]))|Õ(?=E)",
    "[àèéìòùóîÀÈÉÌÒÙ](?![a-z])",  # Italian
    "[åäöéÅÄÖÉ]",  # Swedish, Finnish
    "[æøåéóòôüÆØÅÉ]",  # Danish, Norwegian
    "[áéíóúëïöüèêÉ]",  # Dutch, Irish
    "[àèéíïóòúüÀÉÈÍÓÒÚ]|ç(?=[aou]|(?![a-z]))|Ç",  # Catalan
    "[äöõüšžÄÖÕÜŠŽ]",  # Estonian
)
_ICELANDIC = "[áðéíóúýþæöÁÐÉÍÓÚÝÞÆÖ]"
_CENTRAL = (
    "[ąćęłńóśźżĄĆĘŁŃÓŚŹŻ]",  # Polish
    "[áčďéěíňóřšťúůýžÁČĎÉĚÍŇÓŘŠŤÚŮÝŽ]",  # Czech
    "[áäčďéíĺľňóôŕšťúýžÁÄČĎÉÍĹĽŇÓÔŔŠŤÚÝŽ]",  # Slovak
    "[áéíóöőúüűÁÉÍÓÖŐÚÜŰ]",  # Hungarian
    "[čćđšžČĆĐŠŽ]",  # Croatian, Slovene
    "[ăâîşţĂÂÎŞŢ]",  # Romanian
)
_TURKISH = "[çğıöşüâîûÇĞİÖŞÜÂÎÛ]"
_BALTIC = ("[ąčęėįšųūžĄČĘĖĮŠŲŪŽ]", "[āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽ]")  # Lithuanian, Latvian

_SIGN = (
    r"(?<![^\W\d_])[£¥¼½¾±¬¤¢¦](?![^\W\d_])|(?<=\d)[ªº¹²³]|(?<=[nN])[ºª]|(?<=[mM])[²³]"
    r"|[°µ«»•™®©§¶·€\xa0\xad\xb4\u2013\u2014\u2018-\u201e\u2026\u2039\u203a]"  # also quotes and dashes
)

_CANDIDATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cp1252", _WESTERN),
    ("cp1250", _CENTRAL),
    ("cp1254", (_TURKISH,)),
    ("cp1257", _BALTIC),
    ("iso8859_2", _CENTRAL),
    ("cp1252", (*_WESTERN, _ICELANDIC)),  # last: its letters are Turkish ones of cp1254, which are found more often
)
"""Encodings and the languages that are written in them. Of those that fit as well, the first is taken."""

LATIN_ENCODINGS = frozenset(encoding for encoding, _ in _CANDIDATES)
"""Encodings that are told from each other by letters alone, and may be mistaken."""

_WORDS = re.compile(rb"[A-Za-z0-9\x80-\xff]*[\x80-\xff][A-Za-z0-9\x80-\xff]*")

_QUESTION = re.compile(rb"[\xbf\xa1]([^?!\r\n]*[?!])")
"""A Spanish question or exclamation, whose first mark is a letter in other encodings."""


def find_latin_encoding(text: bytes) -> str:
    """Return the encoding in which most different words of a text fit a language that is written in it.

    Of encodings that fit as many words, it is the one of whose languages a single one fits more of them; cp1252 if
    these are as many, too.
    """
    words = set(_WORDS.findall(_QUESTION.sub(rb"\1", text)))
    fits = [(encoding, _fit(words, encoding, languages)) for encoding, languages in _CANDIDATES]
    return max(fits, key=lambda each: each[1])[0]


def _fit(words: set[bytes], encoding: str, languages: Sequence[str]) -> tuple[int, int]:
    """Return how many words fit any language, and how many fit the language that fits most."""
    decoded = [word.decode(encoding, errors="replace") for word in words]
    fitting = [{word for word in decoded if _pattern(language).fullmatch(word)} for language in languages]
    return len(set().union(*fitting)), max(map(len, fitting))


@cache
def _pattern(language: str) -> re.Pattern[str]:
    return re.compile(f"(?:[\\x00-\\x7f]|{_SIGN}|{language})+")
