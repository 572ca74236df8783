"""Recordings of an evaluation: what is read, left out, selected, staged and mixed."""

import numpy as np
import pytest
import soundfile as sf
from other_user import closed_folder, other_user
from unknown_length import write_unknown_length

from kwsd.errors import AudioError, MissingFileError, UsageError
from kwsd.evaluate.noise import NoisePool, loudest_energy, noise_gain, usable_noise
from kwsd.evaluate.recording import (
    Part,
    find_recordings,
    parts_of,
    read_part,
    saying,
    speech_bounds,
)
from kwsd.evaluate.rooms import Room
from kwsd.evaluate.selection import read_index, select
from kwsd.evaluate.stage import (
    FLOOR_DBFS,
    LOUDEST_FLOOR_DBFS,
    stage_reel,
    stage_utterance,
    wind_reels,
)
from kwsd.evaluate.surroundings import LEAD_S, QUIET, Surroundings

RATE = 16000


def word(before_s=0.5, word_s=0.6, after_s=0.4, rate=RATE, level=0.3, floor=1e-3, seed=0):
    """Noise at `floor` with a louder stretch in it."""
    rng = np.random.default_rng(seed)
    parts = [floor, level, floor]
    lengths = [round(s * rate) for s in (before_s, word_s, after_s)]
    return np.concatenate([g * rng.standard_normal(n) for g, n in zip(parts, lengths, strict=True)])


def write(path, audio, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, audio, rate, **options)
    return path


def only_part(path):
    (part,) = parts_of(path)
    return part


def test_recordings_are_found_below_folders_once(tmp_path):
    first = write(tmp_path / "a" / "b" / "one.wav", word())
    second = write(tmp_path / "a" / "two.FLAC", word(), format="FLAC")
    (tmp_path / "a" / "notes.txt").write_text("no audio")
    (tmp_path / "a" / "z.wav").symlink_to(first)
    detour = tmp_path / "a" / ".." / "a" / "two.FLAC"
    assert find_recordings([tmp_path / "a", first, detour]) == [first, second]


def test_folders_behind_links_are_entered_and_circles_are_not(tmp_path):
    first = write(tmp_path / "there" / "one.wav", word())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "back").symlink_to(tmp_path / "here")
    (found,) = find_recordings([tmp_path / "here"])
    assert found.resolve() == first


def test_integers_stored_as_floats_are_refused(tmp_path):
    """The front end would silence them sample by sample, and nothing would be heard of them."""
    path = write(tmp_path / "a.wav", 32768 * word(), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav reaches .*; full scale is 1\.0, at most 16"):
        read_part(only_part(path))
    assert read_part(only_part(write(tmp_path / "b.wav", 12 * word(), subtype="FLOAT"))).max() > 5


def test_a_folder_inside_that_may_not_be_entered_is_said(tmp_path):
    with closed_folder() as (folder, _):
        outer = folder.parent
        write(outer / "open.wav", word())
        with other_user(), pytest.raises(MissingFileError, match=f"{folder} cannot be read"):
            find_recordings([outer])


def test_a_folder_that_may_not_be_entered_is_said():
    with closed_folder() as (folder, _), other_user():
        for path in (folder, folder / "one.wav", folder / "below"):
            with pytest.raises(MissingFileError, match="no recording in it|Permission denied"):
                find_recordings([path])
        with pytest.raises(MissingFileError, match="Permission denied"):
            read_index(folder / "index.csv")


def test_a_recording_that_does_not_say_its_length_is_no_recording(tmp_path):
    path = write_unknown_length(tmp_path / "piped.flac", word())
    with pytest.raises(AudioError, match="does not say how long it is.*COPY.wav"):
        parts_of(path)


def test_a_missing_or_empty_folder_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="no recording in it"):
        find_recordings([tmp_path / "empty"])
    with pytest.raises(MissingFileError, match="no such file or folder"):
        find_recordings([tmp_path / "nowhere"])


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_rate_becomes_16_khz_of_the_first_channel(tmp_path, rate):
    audio = word(rate=rate)
    path = write(tmp_path / "w.wav", np.stack([audio, -audio], 1), rate)
    pcm = read_part(only_part(path))
    assert pcm.dtype == np.float32
    assert len(pcm) == pytest.approx(len(audio) * RATE / rate, abs=2)


def test_long_recordings_come_in_parts_that_join(tmp_path):
    audio = word(before_s=4.0)
    path = write(tmp_path / "long.wav", audio, subtype="FLOAT")
    parts = parts_of(path, longest_s=2.0)
    assert len(parts) == 3
    joined = np.concatenate([read_part(part) for part in parts])
    np.testing.assert_array_equal(joined, audio.astype(np.float32))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"RIFF" + bytes(200)), "WAV|wav|read"),
        (lambda path: sf.write(path, word()[:800], RATE), "0.05 s long"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path, make, reason):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioError, match=reason) as error:
        parts_of(path)
    assert str(path) in str(error.value)


def test_silence_is_left_out(tmp_path):
    path = write(tmp_path / "silent.wav", np.zeros(RATE))
    with pytest.raises(AudioError, match="is silent"):
        read_part(only_part(path))


def test_samples_that_are_no_numbers_are_silence(tmp_path):
    audio = word()
    audio[100:200] = np.nan
    audio[200] = np.inf
    pcm = read_part(only_part(write(tmp_path / "w.wav", audio, subtype="FLOAT")))
    assert np.isfinite(pcm).all()


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.02])
def test_speech_is_found_by_energy(floor):
    onset, end = speech_bounds(word(floor=floor).astype(np.float32))
    assert onset / RATE == pytest.approx(0.5, abs=0.03)
    assert end / RATE == pytest.approx(1.1, abs=0.03)


def test_a_weak_final_s_belongs_to_the_word():
    rng = np.random.default_rng(4)
    spectrum = np.fft.rfft(rng.standard_normal(int(0.15 * RATE)))
    spectrum[: int(0.15 * 4500)] = 0
    hiss = np.fft.irfft(spectrum)
    vowel = np.sin(2 * np.pi * 250 * np.arange(int(0.3 * RATE)) / RATE)
    # 27 dB below the vowel: out of reach of plain energy.
    said = np.concatenate([vowel, hiss / hiss.std() * 0.7071 * 10 ** (-27 / 20)])
    pcm = np.concatenate([np.zeros(RATE // 2), 0.3 * said, np.zeros(RATE // 2)])
    pcm += 1e-4 * rng.standard_normal(len(pcm))
    _, end = speech_bounds(pcm.astype(np.float32))
    assert end / RATE == pytest.approx(0.95, abs=0.03)


def test_a_click_long_after_the_word_is_no_part_of_it():
    pcm = np.concatenate([word(), np.zeros(RATE)])
    pcm[-4000:-3900] = 0.2
    onset, end = speech_bounds(pcm.astype(np.float32))
    assert onset / RATE == pytest.approx(0.5, abs=0.03)
    assert end / RATE == pytest.approx(1.1, abs=0.03)


def test_a_click_long_before_the_word_is_no_part_of_it_and_a_first_word_is():
    pcm = np.concatenate([np.zeros(RATE), word()])
    pcm[2000:2100] = 0.2
    onset, end = speech_bounds(pcm.astype(np.float32))
    assert onset / RATE == pytest.approx(1.5, abs=0.03)
    assert end / RATE == pytest.approx(2.1, abs=0.03)
    pcm[2000:4000] = 0.2 * np.sin(np.arange(2000))
    onset, end = speech_bounds(pcm.astype(np.float32))
    assert onset / RATE == pytest.approx(0.125, abs=0.03)
    assert end / RATE == pytest.approx(2.1, abs=0.03)


def test_a_recording_of_many_minutes_is_no_saying(tmp_path):
    path = write(tmp_path / "minutes.flac", np.zeros(601 * 8000), rate=8000)
    with pytest.raises(AudioError, match="minutes.flac is 601 s long.*cut it out"):
        saying(path)
    path = write(tmp_path / "seconds.wav", word())
    assert saying(path) == only_part(path)


def test_a_recording_that_is_speech_throughout_is_taken_whole():
    pcm = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    onset, end = speech_bounds(pcm)
    assert 0 <= onset < end <= RATE


def test_the_ratio_compares_the_loudest_stretches():
    speech, noise = word(seed=1), word(level=0.05, floor=0.05, seed=2)
    scaled = noise * noise_gain(speech, noise, 10.0)
    ratio = loudest_energy(speech) / loudest_energy(scaled)
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=1e-6)
    assert noise_gain(speech, np.zeros(100, np.float32), 10.0) == 0.0


def test_noise_is_drawn_by_the_seed_and_goes_round(tmp_path):
    pool = NoisePool([write(tmp_path / "n.wav", word())], 10.0)
    draws = [pool.draw(5 * RATE, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert len(draws[0]) == 5 * RATE
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_noise_without_sound_is_said(tmp_path):
    pool = NoisePool([write(tmp_path / "silent.wav", np.zeros(RATE))], 10.0)
    with pytest.raises(UsageError, match="no sound"):
        pool.draw(RATE, np.random.default_rng(0))


def test_a_short_noise_goes_round_and_does_not_stop(tmp_path):
    pool = NoisePool([write(tmp_path / "n.wav", word())], 10.0)
    drawn = pool.draw(4 * RATE, np.random.default_rng(1))
    once = round(1.5 * RATE)
    np.testing.assert_array_equal(drawn[once:], drawn[:-once])


def test_a_stretch_without_sound_is_drawn_again(tmp_path):
    audio = word(before_s=2.0, word_s=2.0, after_s=0.5, floor=0.0)
    pool = NoisePool([write(tmp_path / "n.wav", audio)], 10.0)
    for seed in range(20):
        assert loudest_energy(pool.draw(RATE // 2, np.random.default_rng(seed))) > 0


class Given(NoisePool):
    """Noise that is not drawn."""

    def __init__(self, noise, snr_db):
        super().__init__([], snr_db)
        self._noise = noise.astype(np.float32)

    def draw(self, samples, rng):
        return self._noise[:samples]


@pytest.mark.parametrize("under", [0.01, 0.0])
def test_the_ratio_is_that_of_the_noise_under_the_recording(under):
    """Louder noise beside it counts for nothing, unless there is none under it."""
    speech = word(seed=1).astype(np.float32)
    noise = word(1.0, 0.1, 3.5, level=0.5, floor=under, seed=2)
    covered = Given(noise, 10.0).cover(speech, 2 * RATE, RATE, np.random.default_rng(0))
    loudest = covered[2 * RATE : 2 * RATE + len(speech)] if under else covered
    ratio = loudest_energy(speech) / loudest_energy(loudest)
    assert len(covered) == len(speech) + 3 * RATE
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.1)


def test_noise_that_cannot_be_read_is_passed_over(tmp_path):
    good = write(tmp_path / "n.wav", word())
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"nothing")
    short = write(tmp_path / "short.wav", word()[: RATE // 10])
    assert usable_noise([bad, short, good]) == [good]
    with pytest.raises(AudioError, match="none of the 1 noise"):
        usable_noise([bad])


def test_an_utterance_has_room_around_it_and_no_digital_silence(tmp_path):
    audio = word()
    audio[:4000] = 0.0
    path = write(tmp_path / "w.wav", audio)
    staged = stage_utterance(only_part(path), QUIET, np.random.default_rng(0))
    assert staged.onset_sample / RATE == pytest.approx(LEAD_S + 0.5, abs=0.03)
    assert staged.end_sample / RATE == pytest.approx(LEAD_S + 1.1, abs=0.03)
    quiet = staged.pcm[RATE : RATE + 1600]
    level = 10 * np.log10(np.mean(quiet.astype(np.float64) ** 2))
    assert level == pytest.approx(FLOOR_DBFS, abs=4)


def test_a_reel_counts_recordings_and_knows_where_they_are(tmp_path):
    parts = [only_part(write(tmp_path / f"{i}.wav", word(seed=i))) for i in range(3)]
    silent = only_part(write(tmp_path / "silent.wav", np.zeros(RATE)))
    reel = stage_reel([parts[0], silent, *parts[1:]], QUIET, np.random.default_rng(0))
    assert reel.seconds == pytest.approx(4.5)
    assert len(reel.skipped) == 1
    part, time_s = reel.place(reel.starts[2] + RATE)
    assert part == parts[2]
    assert time_s == pytest.approx(1.0)
    assert reel.place(0)[0] == parts[0]


def test_a_place_in_a_later_part_is_one_in_the_file(tmp_path):
    parts = parts_of(write(tmp_path / "long.wav", word(before_s=3.0)), longest_s=2.0)
    reel = stage_reel(parts, QUIET, np.random.default_rng(0))
    assert reel.place(reel.starts[1] + RATE // 2) == (parts[1], pytest.approx(2.5))
    # A score that rises in the pause behind it was raised by its end.
    pause = reel.starts[0] + round(parts[0].seconds * RATE) + 800
    assert reel.place(pause) == (parts[0], pytest.approx(2.0))


def level_dbfs(pcm):
    return 10 * np.log10(np.mean(np.asarray(pcm, np.float64) ** 2))


def test_a_reel_has_no_digital_silence(tmp_path):
    audio = word()
    audio[:4000] = 0.0
    part = only_part(write(tmp_path / "w.wav", audio))
    reel = stage_reel([part], QUIET, np.random.default_rng(0))
    assert level_dbfs(reel.pcm[reel.starts[0] :][:3000]) == pytest.approx(FLOOR_DBFS, abs=0.5)


def test_the_room_before_a_recording_without_a_pause_is_no_louder_than_rooms_are(tmp_path):
    part = only_part(write(tmp_path / "w.wav", word(floor=0.3)))
    staged = stage_utterance(part, QUIET, np.random.default_rng(0))
    assert level_dbfs(staged.pcm[:RATE]) == pytest.approx(LOUDEST_FLOOR_DBFS, abs=0.5)


def test_room_around_recordings_is_as_long_as_stated(tmp_path):
    part = only_part(write(tmp_path / "w.wav", word()))
    staged = stage_utterance(part, QUIET, np.random.default_rng(0))
    assert len(staged.pcm) == (LEAD_S + 1.5 + 1.0) * RATE
    reel = stage_reel([part] * 3, QUIET, np.random.default_rng(0))
    assert [start / RATE for start in reel.starts] == [LEAD_S, LEAD_S + 2.0, LEAD_S + 4.0]


def test_noise_lies_under_a_whole_utterance_at_its_ratio(tmp_path):
    part = only_part(write(tmp_path / "w.wav", word()))
    noise = NoisePool([write(tmp_path / "n.wav", word(level=0.2, floor=0.2))], 10.0)
    clean, noisy = (
        stage_utterance(part, where, np.random.default_rng(0)).pcm
        for where in (QUIET, Surroundings(noise))
    )
    added = noisy - clean
    assert min(np.std(added[:RATE]), np.std(added[-RATE:])) > 0.01
    ratio = loudest_energy(clean) / loudest_energy(added)
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=2.0)


def test_noise_lies_under_a_whole_reel(tmp_path):
    parts = [only_part(write(tmp_path / f"{i}.wav", word(seed=i))) for i in range(2)]
    noise = NoisePool([write(tmp_path / "n.wav", word(level=0.2, floor=0.2))], 10.0)
    clean = stage_reel(parts, QUIET, np.random.default_rng(0))
    noisy = stage_reel(parts, Surroundings(noise), np.random.default_rng(0))
    assert len(clean.pcm) == len(noisy.pcm)
    pause = slice(0, RATE)
    assert np.std(noisy.pcm[pause]) > 10 * np.std(clean.pcm[pause])


def test_reels_keep_the_order_and_close_when_they_are_long_enough():
    parts = [Part(None, i, 40.0) for i in range(10)]
    reels = wind_reels(parts, reel_s=100.0)
    assert [len(reel) for reel in reels] == [3, 3, 3, 1]
    assert [part for reel in reels for part in reel] == parts


@pytest.fixture
def collection(tmp_path):
    """Two words in two splits, an index over them and one file that it does not list."""
    rows = ["path,label,speaker,split"]
    for label in ("alpha", "beta"):
        for number, split in enumerate(("train", "train", "dev")):
            name = f"{label}/{number}.wav"
            write(tmp_path / name, word())
            rows.append(f"{name},{label},s{number},{split}")
    write(tmp_path / "alpha" / "unlisted.wav", word())
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def names(paths):
    return [f"{path.parent.name}/{path.name}" for path in paths]


def test_an_index_chooses_label_split_and_speakers(collection):
    chosen = select([], [collection], collection / "index.csv", "alpha", "dev")
    assert names(p.path for p in chosen.positives) == ["alpha/2.wav"]
    assert chosen.positives[0].speaker == "s2"
    # Other splits stay out of the negatives, files that are not listed stay in.
    assert names(chosen.negatives) == ["alpha/unlisted.wav", "beta/2.wav"]


def test_folders_are_restricted_by_an_index(collection):
    index = collection / "index.csv"
    chosen = select([collection / "alpha"], [collection / "beta"], index, "alpha", "train")
    assert names(p.path for p in chosen.positives) == [
        "alpha/0.wav",
        "alpha/1.wav",
        "alpha/unlisted.wav",
    ]
    assert names(chosen.negatives) == ["beta/0.wav", "beta/1.wav"]


@pytest.mark.parametrize("label", ["Al_Pha", "ALPHA", "al pha"])
def test_labels_are_compared_as_training_compares_them(collection, label):
    index = collection / "index.csv"
    chosen = select([], [collection], index, label, "dev")
    assert names(p.path for p in chosen.positives) == ["alpha/2.wav"]
    # With one's own positives the listed ones of the word stay out of the negatives.
    own = collection / "alpha" / "unlisted.wav"
    assert names(select([own], [collection], index, label, "dev").negatives) == ["beta/2.wav"]


def test_a_row_without_a_label_says_no_word(collection):
    index = collection / "index.csv"
    index.write_text("path,label\nalpha/0.wav,\n")
    with pytest.raises(MissingFileError, match="no positive with label '!'"):
        select([], [collection], index, "!", None)


def test_a_positive_is_never_a_negative_as_well(collection):
    chosen = select([collection / "alpha"], [collection], None, "alpha", None)
    assert len(chosen.positives) == 4
    assert names(chosen.negatives) == ["beta/0.wav", "beta/1.wav", "beta/2.wav"]


def test_selections_that_cannot_be_meant_are_refused(collection):
    with pytest.raises(UsageError, match="no positives"):
        select([], [collection], None, "alpha", None)
    with pytest.raises(UsageError, match="--index"):
        select([collection], [collection], None, "alpha", "dev")
    with pytest.raises(MissingFileError, match="labels there: alpha, beta"):
        select([], [collection], collection / "index.csv", "gamma", None)
    with pytest.raises(MissingFileError, match="cannot be read: No such file"):
        select([], [collection], collection / "nowhere.csv", "alpha", None)
    (collection / "odd.csv").write_text("file,label\n")
    with pytest.raises(AudioError, match="no column 'path'"):
        select([], [collection], collection / "odd.csv", "alpha", None)


def rooms():
    """A room whose talker comes with an echo 100 ms later, and a loudspeaker at once."""
    talker, loudspeaker = np.zeros(1601, np.float32), np.zeros(200, np.float32)
    talker[[0, 1600]] = 0.8, 0.6
    loudspeaker[10] = 1.0
    return (Room(talker, loudspeaker),)


def test_far_recordings_are_longer_and_as_loud(tmp_path):
    path = write(tmp_path / "w.wav", word())
    far = Surroundings(rooms=rooms(), far=True)
    dry, wet = (
        stage_utterance(only_part(path), where, np.random.default_rng(0)) for where in (QUIET, far)
    )
    assert len(wet.pcm) == len(dry.pcm) + 6400
    assert (wet.onset_sample, wet.end_sample) == (dry.onset_sample, dry.end_sample)
    assert np.sum(wet.pcm**2) == pytest.approx(np.sum(dry.pcm**2), rel=0.05)
    assert wet.reference is None


def test_a_room_that_takes_most_of_a_sound_makes_it_no_quieter():
    tone = np.sin(2 * np.pi * 900 * np.arange(RATE) / RATE).astype(np.float32)
    twice = np.zeros(9, np.float32)
    twice[[0, 8]] = np.sqrt(0.5)
    wet = Surroundings(far=True).hear(tone, Room(twice, twice))
    assert np.sum(wet**2) == pytest.approx(np.sum(tone**2), rel=1e-3)


def test_hours_count_recordings_and_not_their_reverberation(tmp_path):
    part = only_part(write(tmp_path / "w.wav", word()))
    far = Surroundings(rooms=rooms(), far=True)
    dry, wet = (stage_reel([part] * 3, where, np.random.default_rng(0)) for where in (QUIET, far))
    assert wet.seconds == dry.seconds == pytest.approx(4.5)
    assert len(wet.pcm) == len(dry.pcm) + 3 * 6400


def test_playback_comes_with_its_reference_at_the_stated_ratio(tmp_path):
    path = write(tmp_path / "w.wav", word())
    music = NoisePool([write(tmp_path / "n.wav", word(level=0.2, floor=0.2))], -15.0)
    where = Surroundings(rooms=rooms(), playback=music)
    dry = stage_utterance(only_part(path), QUIET, np.random.default_rng(0))
    played = stage_utterance(only_part(path), where, np.random.default_rng(0))
    assert played.reference is not None and played.reference.shape == played.pcm.shape
    assert played.onset_sample - dry.onset_sample == 6.5 * RATE
    # The talker is not put into the room as well.
    assert len(played.pcm) - len(dry.pcm) == 6.5 * RATE
    assert np.abs(played.pcm).max() <= 0.9 + 1e-6
    # What is heard is the reference, a little later.
    mic = played.pcm[: 7 * RATE]
    lags = np.fft.irfft(np.fft.rfft(mic, 1 << 18) * np.conj(np.fft.rfft(played.reference, 1 << 18)))
    assert 10 <= int(np.argmax(np.abs(lags[:2000]))) < 10 + 960


def playing(noise, ser_db, seed=0):
    """A stream with playback in it, the echo in it, and the reference."""
    pcm = word(before_s=2.0, level=0.1).astype(np.float32)
    where = Surroundings(rooms=rooms(), playback=Given(noise, ser_db))
    mixed, reference = where.play(pcm, rooms()[0], np.random.default_rng(seed))
    return pcm, mixed - pcm, reference


def test_playback_has_its_level_and_the_echo_its_ratio():
    pcm, echo, reference = playing(word(3.0, level=0.2, floor=0.02), 15.0)
    assert level_dbfs(reference) == pytest.approx(-20.0, abs=0.1)
    ratio = loudest_energy(pcm) / loudest_energy(echo)
    assert 10 * np.log10(ratio) == pytest.approx(15.0, abs=0.1)


def test_playback_with_rare_peaks_stays_within_range():
    clicks = np.zeros(4 * RATE)
    clicks[::4000] = 0.5
    _, _, reference = playing(clicks, 20.0)
    assert np.abs(reference).max() == pytest.approx(0.99)


def test_a_loudspeaker_distorts_and_is_late_by_up_to_60_ms():
    tone = 0.1 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)
    lags = []
    for seed in range(8):
        _, echo, reference = playing(tone, 0.0, seed)
        lags.append(int(np.flatnonzero(np.abs(echo) > 1e-4)[0]))
        inside = slice(RATE, 2 * RATE)
        lines = np.abs(np.fft.rfft(echo[inside])) / np.abs(np.fft.rfft(echo[inside])).max()
        assert lines[1500] > 0.02  # the third harmonic, of whole periods in a second
        assert np.abs(np.fft.rfft(reference[inside]))[1500] < 1.0
    assert 10 <= min(lags) < max(lags) - 200 and max(lags) < 10 + 960
