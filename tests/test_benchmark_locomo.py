"""The benchmark on months of talk, on a conversation made up here."""

import json
from pathlib import Path

import pytest
from benchmarks.locomo import main, read_conversations


def a_conversation(path: Path) -> Path:
    """Two sessions of two people; the answer to the second question holds none of its words."""
    told = {
        "speaker_a": "Ada",
        "speaker_b": "Bob",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ada", "dia_id": "D1:1", "text": "I planted a quince tree yesterday."},
            {"speaker": "Bob", "dia_id": "D1:2", "text": "Lovely! What will you make of the fruit?"},
            {"speaker": "Ada", "dia_id": "D1:3", "text": "Jelly, I think.", "blip_caption": "a row of jars"},
        ],
        "session_2_date_time": "10:00 am on 2 June, 2023",
        "session_2": [
            {"speaker": "Bob", "dia_id": "D2:1", "text": "The ferry was late again this morning."},
            {"speaker": "Ada", "dia_id": "D2:2", "text": "It always is."},
        ],
        "qa": [
            {"question": "When did Ada plant the quince?", "evidence": ["D1:1"], "category": 2},
            {"question": "What will be made of the fruit?", "evidence": ["D1:3; D1:2"], "category": 4},
            {"question": "Who paid?", "evidence": [], "category": 4},
        ],
    }
    path.write_text(json.dumps(told))
    return path


def test_turns_have_their_times_and_questions_without_evidence_are_left_out(tmp_path: Path) -> None:
    (conversation,) = read_conversations(a_conversation(tmp_path / "one.json"))
    assert [f"{turn.said_at:%Y-%m-%d %H:%M:%S}" for turn in conversation.turns[1:4]] == [
        "2023-05-08 13:56:30",
        "2023-05-08 13:57:00",
        "2023-06-02 10:00:00",
    ]
    assert conversation.turns[2].text == "Jelly, I think. [image: a row of jars]"
    assert [sorted(question.evidence) for question in conversation.questions] == [["D1:1"], ["D1:2", "D1:3"]]


def test_it_asks_every_question_of_ours_and_of_plain_bm25(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.argv", ["locomo", str(a_conversation(tmp_path / "one.json")), "--semantic", "off"])
    main()
    told = capsys.readouterr().out
    assert "plain BM25" in told
    (ours,) = [line for line in told.split("weights as shipped")[1].splitlines() if line.startswith("│ all")]
    assert [cell.strip() for cell in ours.strip("│").split("│")][:6] == ["all", "2", "100.0", "100.0", "100.0", "100.0"]
    assert "Not cross-validated" in told


def test_a_folder_without_conversations_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["locomo", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"holds no \.json file"):
        main()
