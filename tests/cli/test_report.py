"""`rlbuffers report`."""

import pytest


def test_a_page_is_written_and_replaced(run, pong_buffer, tmp_path):
    page = tmp_path / "page.html"
    result = run("report", pong_buffer, "-o", page)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"wrote {page} (")
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "<h1>Pong run_1-00001-of-00100</h1>" in text
    assert run("report", pong_buffer, "-o", page).exit_code == 0
    assert page.read_text() == text
    assert run("report", pong_buffer, "-o", page, "--name", "Another & better").exit_code == 0
    assert "<title>Another &amp; better</title>" in page.read_text()


def test_the_page_goes_to_the_current_folder(run, pong_buffer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("report", pong_buffer).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run_1-00001-of-00100.report.html"]


def test_a_wrong_run_leaves_no_page(run, pong_buffer, tmp_path):
    page = tmp_path / "page.html"
    result = run("report", pong_buffer, "-o", page, "--run", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "there is no such folder" in result.stderr
    result = run("report", pong_buffer, "-o", page, "--run", tmp_path)
    assert "found no events.out.tfevents*" in result.stderr
    assert not page.exists()


@pytest.mark.parametrize("words", [["--frames-mb", "-1"], ["--frames-mb", "many"]])
def test_wrong_options(run, pong_buffer, words):
    assert run("report", pong_buffer, *words).exit_code == 2


def test_no_such_buffer(run, tmp_path):
    result = run("report", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
