"""Addresses of databases: what may be shown of one, and what it calls the files that go with it."""

import pytest

from backscroll.addresses import bare, companions, has_password, is_clear, shown, without_password
from backscroll.errors import InvalidArgument
from backscroll.store.opening import open_store


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://ada:hunter2@db.example:5433/talk?sslmode=require", "postgresql://ada:***@db.example:5433/talk?sslmode=require"),
        ("postgresql://ada@db.example/talk", "postgresql://ada@db.example/talk"),
        ("postgres://ada:hun%40ter2@[::1]:5433,two.example/talk", "postgres://ada:***@[::1]:5433,two.example/talk"),
        ("postgresql://db.example/talk?user=ada&password=hunter2", "postgresql://db.example/talk?user=ada&password=***"),
        ("postgresql://db.example/talk?p%61ssword=hunter2", "postgresql://db.example/talk?password=***"),
        ("postgresql://ada:hunter2@/talk?host=/run/postgresql", "postgresql://ada:***@/talk?host=/run/postgresql"),
        ("postgresql://ada:hunter2?@db.example/talk", "postgresql://ada:***@db.example/talk"),
        # Which of these is the host nobody can tell: nothing of it is shown.
        ("postgresql://ada:hun@ter2@db.example/talk", "postgresql://***"),
        ("postgresql://ada:hun/ter2@db.example/talk", "postgresql://***"),
        ("sqlite:////home/ada/a:b@c.db", "sqlite:////home/ada/a:b@c.db"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_passwords(address: str, told: str) -> None:
    assert shown(address) == told
    assert has_password(address) == ("***" in told)
    assert is_clear(address) == (told != "postgresql://***")
    assert "ter2" not in without_password(address)


def test_the_files_of_a_servers_database_are_named_by_host_and_database_alone() -> None:
    told = companions("postgresql://ada:hunter2@DB.example:5433/talk?sslmode=require", "/data")
    assert told == ("/data", "postgresql://db.example:5433/talk")
    # The address of a hook, whose password is elsewhere, leads to the same files.
    assert companions("postgres://bob@db.example:5433/talk", "/data") == told
    assert companions("postgresql:///talk?host=db.example&port=5433&user=ada", "/data") == told
    # A schema of its own is a database of its own.
    assert bare("postgresql:///talk?options=-csearch_path%3Done") != bare(
        "postgresql:///talk?options=-csearch_path%3Dtwo"
    )


def test_the_files_of_a_database_file_lie_beside_it() -> None:
    assert companions("/home/ada/talk.db", "/data") == ("/home/ada", "talk.db")
    assert companions("sqlite:////home/ada/my%20talk.db", "/data") == ("/home/ada", "my talk.db")
    assert companions(None, "/data") == ("/data", "backscroll.db")


@pytest.mark.parametrize("address", ["host=127.0.0.1 password=hunter2", "dbname=notes user=ada", "password = hunter2"])
async def test_an_address_in_libpqs_own_form_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidArgument, match="postgresql://") as told:
        await open_store(address)
    assert "hunter2" not in str(told.value)
