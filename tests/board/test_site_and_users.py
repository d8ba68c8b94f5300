"""The site's file and the users file: what they say, and sentences that name the key and the fix."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from streams.board.site_file import SiteFileError, read_site
from streams.board.user_file import UserFile, UserFileError, add_token, add_user, read_users

GOOD = """
zone = "Europe/Berlin"
[[rooms]]
name = "Room 1"
unit = "U1"
chairs = ["02", "01"]
[[rooms]]
name = "Annex"
chairs = ["A"]
[[water_loops]]
id = "U1-A"
name = "Ring A"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def test_a_site_keeps_the_order_of_its_rooms_and_chairs(tmp_path: Path) -> None:
    site = read_site(written(tmp_path, GOOD))
    assert [(room.name, room.unit, room.chairs) for room in site.rooms] == [
        ("Room 1", "U1", ("02", "01")),
        ("Annex", None, ("A",)),
    ]
    assert (site.zone, site.water_loops) == ("Europe/Berlin", {"U1-A": "Ring A"})
    assert read_site(None).rooms == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zone = 7", "zone is no IANA time zone"),
        ('zone = "Mars/Base"', "zone is no IANA time zone"),
        ('zone = "../../etc/passwd"', "zone is no IANA time zone"),
        ("chairs = []", "chairs is no key of this file: use one of rooms, water_loops, zone"),
        ("rooms = 3", "rooms is no list of tables: begin each with [[rooms]]"),
        ('[[rooms]]\nname = "R"', "rooms[1].chairs is no list of names"),
        ('[[rooms]]\nchairs = ["1"]', "rooms[1].name is no name"),
        ('[[rooms]]\nname = "R"\nchairs = ["1", "1"]', "rooms[1].chairs names '1' again"),
        ('[[rooms]]\nname = "R"\nchairs = [1]', "rooms[1].chairs is no list of names"),
        ('[[water_loops]]\nid = "x"', "water_loops[1].name is no name"),
        ("zone = ", "is not TOML"),
    ],
)
def test_a_site_that_cannot_be_used_says_where_and_how_to_mend_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SiteFileError) as found:
        read_site(written(tmp_path, text))
    assert any(problem.startswith(words) for problem in found.value.problems), found.value.problems


def test_users_and_tokens(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    assert add_user(path, "anna", "responder", "correct horse") is True
    assert add_user(path, "bob.b", "viewer", "another password") is True
    token = add_token(path, "wall-1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "correct" not in path.read_text()
    assert token not in path.read_text()
    users = read_users(path)
    assert {name: user.role for name, user in users.users.items()} == {"anna": "responder", "bob.b": "viewer"}
    assert users.is_password("anna", "correct horse")
    assert not users.is_password("anna", "wrong horse")
    assert not users.is_password("nobody", "correct horse")
    assert (users.token_name(token), users.token_name("x")) == ("wall-1", None)
    file = UserFile(path)
    assert add_user(path, "anna", "viewer", "a newer password") is False
    assert file.users.users["anna"].role == "viewer"
    assert add_token(path, "wall-1") != token
    assert file.users.token_name(token) is None
    path.write_text("half an edi")
    assert set(file.users.users) == {"anna", "bob.b"}


@pytest.mark.parametrize(
    ("name", "role", "password", "words"),
    [
        ("a b", "viewer", "long enough", "The name has"),
        ("a|b", "viewer", "long enough", "The name has"),
        ("", "viewer", "long enough", "The name has"),
        ("anna", "admin", "long enough", "The role is none"),
        ("anna", "viewer", "short", "The password needs 10"),
        ("anna", "viewer", "x" * 201, "The password needs 10"),
    ],
)
def test_a_user_that_cannot_be_added(tmp_path: Path, name: str, role: str, password: str, words: str) -> None:
    with pytest.raises(UserFileError, match=words):
        add_user(tmp_path / "users.toml", name, role, password)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "key is missing"),
        (f'key = "{"k" * 40}"\nusers = 1', "users is no table"),
        (f'key = "{"k" * 40}"\n[users."a b"]\nrole = "viewer"', "users has a name"),
        (f'key = "{"k" * 40}"\n[users.a]\nrole = "boss"', "users.a.role is none"),
        (f'key = "{"k" * 40}"\n[users.a]\nrole = "viewer"\npassword = "plain"', "users.a.password is no argon2id"),
        (f'key = "{"k" * 40}"\n[tokens.a]\nsha256 = "x"', "tokens.a.sha256 is no hash"),
    ],
)
def test_a_users_file_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserFileError, match=words):
        read_users(written(tmp_path, text))
