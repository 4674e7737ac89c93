use super::*;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// A log folder, and who reads it.
struct Case {
    folder: TempDir,
    tail: LogTail,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tail = LogTail::new(folder.path());
        Self { folder, tail }
    }

    fn path(&self, page: &str) -> PathBuf {
        self.folder.path().join(format!("Runner_{page}-utc.log"))
    }

    fn write(&self, page: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(page))
            .unwrap();
        file.write_all(bytes.as_ref()).unwrap();
        self
    }

    fn lines(&mut self) -> (Vec<String>, Result<(), Blindness>) {
        let mut lines = Vec::new();
        let seen = self.tail.look(&mut |line| lines.push(line.to_owned()));
        (lines, seen)
    }

    #[track_caller]
    fn sees(&mut self, expected: &[&str]) {
        let (lines, seen) = self.lines();
        assert_eq!(lines, expected);
        seen.unwrap();
    }
}

/// The folder has not changed for long.
fn settle(case: &Case) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let folder = File::open(case.folder.path()).unwrap();
    folder.set_modified(long_ago).unwrap();
}

/// A line with a header.
fn line(number: usize) -> String {
    format!("[2026-05-14 02:00:00Z INFO Runner] {number}\n")
}

#[test]
fn each_line_is_told_once_and_whole() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\ntwo\r\nthr");
    case.sees(&["one", "two"]);
    case.sees(&[]);
    case.write("20260514-020000", "ee");
    case.sees(&[]);
    case.write("20260514-020000", "\nfour\n\nfi");
    case.sees(&["three", "four", ""]);
    case.write("20260514-020000", "ve\n");
    case.sees(&["five"]);
}

#[test]
fn a_page_is_read_to_its_end_before_the_next() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    case.write("20260514-030000", "three\n");
    case.write("20260514-020000", "two\n");
    case.sees(&["two", "three"]);
    // Two listeners: a call of config.sh began a page, and the service goes on with its own.
    case.write("20260514-020000", "four\n");
    case.sees(&["four"]);
}

#[test]
fn a_listener_that_restarts_within_a_second_goes_on_with_its_page() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    case.write("20260514-020000", "two\n");
    case.sees(&["two"]);
}

#[test]
fn the_first_look_reads_the_pages_in_the_order_of_time() {
    let mut case = Case::new();
    case.write("20260514-030000", "three\n");
    case.write("20260514-020000", "one\ntwo\n");
    case.write("20260513-235959", "zero\n");
    fs::write(
        case.folder.path().join("Worker_20260514-040000-utc.log"),
        "no\n",
    )
    .unwrap();
    fs::write(
        case.folder.path().join("Runner_20260514-040000-utc.log.gz"),
        "no\n",
    )
    .unwrap();
    fs::create_dir(case.path("20260514-050000")).unwrap();
    case.sees(&["zero", "one", "two", "three"]);
}

#[test]
fn a_clock_that_was_set_back_makes_a_new_page_all_the_same() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    case.write("20260513-020000", "two\n");
    case.sees(&["two"]);
    case.write("20260513-020000", "three\n");
    case.sees(&["three"]);
}

#[test]
fn what_is_no_utf_8_is_told_as_far_as_it_goes() {
    let mut case = Case::new();
    case.write("20260514-020000", b"caf\xE9\nnext\n");
    case.sees(&["caf\u{fffd}", "next"]);
}

#[test]
fn a_long_line_is_left_out_and_not_kept() {
    let mut case = Case::new();
    let fits = "x".repeat(64 * 1024 - 1);
    let long = "y".repeat(64 * 1024);
    case.write("20260514-020000", format!("one\n{fits}\n{long}\ntwo\n"));
    case.sees(&["one", &fits, "two"]);

    // 5 MB, and its end comes later.
    let long = "z".repeat(5_000_000);
    case.write("20260514-020000", format!("three\n{long}"));
    case.sees(&["three"]);
    // What was left out is not read again.
    case.tail.look_bytes = 6_000_000;
    case.write("20260514-020000", &long);
    case.sees(&[]);
    case.write("20260514-020000", "end\nfour\n");
    case.sees(&["four"]);
}

#[test]
fn a_page_that_was_cut_short_is_read_anew() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\ntwo\nhalf");
    case.sees(&["one", "two"]);
    fs::write(case.path("20260514-020000"), "three\n").unwrap();
    case.sees(&["three"]);
    // Cut within what was read of a line that is not whole.
    case.write("20260514-020000", "half of it");
    case.sees(&[]);
    fs::write(case.path("20260514-020000"), "four\nfive\nha").unwrap();
    case.sees(&["four", "five"]);
}

#[test]
fn a_page_that_was_replaced_is_read_anew() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    let other = case.folder.path().join("other");
    fs::write(&other, "a longer one\n").unwrap();
    fs::rename(other, case.path("20260514-020000")).unwrap();
    case.sees(&["a longer one"]);
}

#[test]
fn a_page_that_is_gone_and_comes_back_is_a_new_one() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.write("20260514-030000", "two\n");
    case.sees(&["one", "two"]);
    fs::remove_file(case.path("20260514-030000")).unwrap();
    case.sees(&[]);
    case.write("20260514-030000", "three\n");
    case.sees(&["three"]);
    fs::remove_file(case.path("20260514-020000")).unwrap();
    fs::remove_file(case.path("20260514-030000")).unwrap();
    let (lines, seen) = case.lines();
    assert!(lines.is_empty() && matches!(seen, Err(Blindness::NoPage { .. })));
    case.write("20260514-020000", "four\n");
    case.sees(&["four"]);
}

#[test]
fn a_folder_that_is_gone_blinds_until_it_is_back() {
    let mut case = Case::new();
    let folder = case.folder.path().join("_diag");
    case.tail = LogTail::new(&folder);
    let page = folder.join("Runner_20260514-020000-utc.log");
    for _ in 0..2 {
        let (_, seen) = case.lines();
        assert!(matches!(seen, Err(Blindness::NoFolder { .. })), "{seen:?}");
    }
    fs::create_dir(&folder).unwrap();
    let (_, seen) = case.lines();
    assert!(matches!(seen, Err(Blindness::NoPage { .. })), "{seen:?}");
    fs::write(&page, "one\n").unwrap();
    case.sees(&["one"]);

    // It comes back as it was, and has grown.
    let aside = case.folder.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    let (lines, seen) = case.lines();
    assert!(lines.is_empty() && matches!(seen, Err(Blindness::NoFolder { .. })));
    fs::write(aside.join("Runner_20260514-020000-utc.log"), "one\ntwo\n").unwrap();
    fs::rename(&aside, &folder).unwrap();
    case.sees(&["two"]);

    // It comes back as another.
    fs::remove_dir_all(&folder).unwrap();
    assert!(case.lines().1.is_err());
    fs::create_dir(&folder).unwrap();
    fs::write(&page, "three\n").unwrap();
    case.sees(&["three"]);

    // A file in its place.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert!(matches!(case.lines().1, Err(Blindness::NoFolder { .. })));
}

#[test]
fn the_first_look_reads_back_so_far_and_begins_at_a_line() {
    let mut case = Case::new();
    let mebibyte = |byte: &str| format!("{}\n", byte.repeat(1023)).repeat(1024);
    for (page, byte) in [("01", "a"), ("02", "b"), ("03", "c"), ("04", "d")] {
        for _ in 0..10 {
            case.write(&format!("20260514-0200{page}"), mebibyte(byte));
        }
    }
    case.write("20260514-020005", "short\n");
    let (lines, seen) = case.lines();
    // There is no header in all that.
    assert!(matches!(seen, Err(Blindness::UnknownFormat { .. })));
    let of = |byte: &str| lines.iter().filter(|line| line.starts_with(byte)).count();
    assert_eq!((of("d"), of("c"), of("b")), (10_240, 10_240, 10_240));
    // 2 MiB of the oldest are left, less the six bytes of the newest: its first line is cut.
    assert_eq!(of("a"), 2 * 1024 - 1);
    assert!(
        lines
            .iter()
            .all(|line| line.len() == 1023 || line == "short")
    );
    assert!(lines[0].starts_with('a') && lines.last().unwrap() == "short");
}

#[test]
fn a_cut_between_two_lines_loses_none() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\ntwo\nthree\n");
    for (cut, expected) in [
        (0, &["one", "two", "three"][..]),
        (1, &["two", "three"]),
        (4, &["two", "three"]),
        (5, &["three"]),
    ] {
        let name = case.path("20260514-020000").file_name().unwrap().to_owned();
        case.tail = LogTail::new(case.folder.path());
        case.sees(&["one", "two", "three"]);
        case.tail.pages = vec![Page::beginning_at(name, cut, 1)];
        case.sees(expected);
    }
}

#[test]
fn of_ten_thousand_pages_the_newest_are_read_and_the_folder_is_listed_when_it_changes() {
    let mut case = Case::new();
    for number in 0..10_000 {
        let page = format!("20260514-{number:06}");
        fs::write(case.path(&page), line(number)).unwrap();
    }
    settle(&case);
    let (lines, seen) = case.lines();
    seen.unwrap();
    assert_eq!(lines.len(), READ_BACK_PAGES);
    assert!(
        lines[0].ends_with("9936") && lines[63].ends_with("9999"),
        "{lines:?}"
    );

    for look in 0..59 {
        case.sees(&[]);
        assert!(!case.tail.folder.was_listed(), "look {look}");
    }
    // A folder that is not dated is listed all the same, now and then.
    case.sees(&[]);
    assert!(case.tail.folder.was_listed());

    case.write("20260514-999999", "new\n");
    case.sees(&["new"]);
    assert!(case.tail.folder.was_listed());
    // Another page could come within the same tick of the file system's clock.
    case.sees(&[]);
    assert!(case.tail.folder.was_listed());
    settle(&case);
    case.sees(&[]);
    assert!(case.tail.folder.was_listed());
    case.sees(&[]);
    assert!(!case.tail.folder.was_listed());
}

/// This file system keeps the dates that others cut.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_of_an_impossible_date_is_read() {
    let mut case = Case::new();
    case.folder = tempfile::tempdir_in("/dev/shm").unwrap();
    case.tail = LogTail::new(case.folder.path());
    case.write("20260514-020000", "one\n");
    let folder = File::open(case.folder.path()).unwrap();
    let span = Duration::from_secs(1_000_000_000_000_000);
    folder.set_modified(SystemTime::UNIX_EPOCH + span).unwrap();
    case.sees(&["one"]);
    folder.set_modified(SystemTime::UNIX_EPOCH - span).unwrap();
    case.sees(&[]);
}

#[test]
fn a_page_that_grows_among_many_is_read_on() {
    let mut case = Case::new();
    case.write("20260514-000000", line(0));
    case.sees(&[line(0).trim_end()]);
    for number in 1..200 {
        case.write(&format!("20260514-{number:06}"), "");
        case.write("20260514-000000", line(number));
        case.sees(&[line(number).trim_end()]);
    }
}

#[test]
fn of_any_number_of_new_pages_nothing_is_missed() {
    let mut case = Case::new();
    case.write("20260513-000000", line(0));
    case.sees(&[line(0).trim_end()]);
    for number in 0..1_000 {
        case.write(&format!("20260514-{number:06}"), line(number));
    }
    let (lines, seen) = case.lines();
    seen.unwrap();
    assert_eq!(lines.len(), 1_000);
    assert!(lines[0].ends_with(" 0") && lines[999].ends_with(" 999"));
    // Also when all grow at once.
    for number in 0..1_000 {
        case.write(&format!("20260514-{number:06}"), line(number));
    }
    settle(&case);
    let (lines, seen) = case.lines();
    seen.unwrap();
    assert_eq!(lines.len(), 1_000);
}

#[test]
fn what_one_look_leaves_unread_of_many_pages_blinds_until_it_is_read() {
    let mut case = Case::new();
    case.write("20260513-000000", line(0));
    case.sees(&[line(0).trim_end()]);
    for number in 0..600 {
        case.write(&format!("20260514-{number:06}"), line(number));
    }
    settle(&case);
    case.tail.look_bytes = 1_000;
    let mut read = 0;
    loop {
        let (lines, seen) = case.lines();
        read += lines.len();
        settle(&case);
        if seen.is_ok() {
            break;
        }
        assert!(matches!(seen, Err(Blindness::Behind { .. })) && !lines.is_empty());
    }
    assert_eq!(read, 600);
}

#[test]
fn an_idle_page_among_many_newer_ones_is_read_when_it_grows() {
    let mut case = Case::new();
    case.write("20260514-000000", line(0));
    case.sees(&[line(0).trim_end()]);
    // As of `Runner.Listener --version`, one in each look.
    for number in 1..=100 {
        case.write(&format!("20260514-{number:06}"), line(number));
        case.sees(&[line(number).trim_end()]);
    }
    settle(&case);
    case.sees(&[]);
    case.write("20260514-000000", "idle\n");
    case.sees(&["idle"]);
    assert!(!case.tail.folder.was_listed());
}

#[test]
fn a_page_that_newer_ones_hid_at_the_first_look_is_read_back_when_it_grows() {
    let mut case = Case::new();
    case.write("20260514-000000", "before\nha");
    for number in 1..=100 {
        case.write(&format!("20260514-{number:06}"), "newer\n");
    }
    settle(&case);
    assert_eq!(case.lines().0.len(), READ_BACK_PAGES);
    case.sees(&[]);
    case.write("20260514-000000", "lf\n");
    case.sees(&["before", "half"]);
    case.write("20260514-000000", "next\n");
    case.sees(&["next"]);
    // One that is cut short or replaced has all its lines after the beginning.
    fs::write(case.path("20260514-000001"), "n\n").unwrap();
    case.sees(&["n"]);
    let other = case.folder.path().join("other");
    fs::write(&other, "other\n").unwrap();
    fs::rename(other, case.path("20260514-000002")).unwrap();
    case.sees(&["other"]);
}

#[test]
fn a_page_that_a_huge_one_hid_at_the_first_look_is_read_back_within_bounds() {
    let mut case = Case::new();
    let huge = |page: &str| {
        case.write(page, "");
        let file = OpenOptions::new().append(true).open(case.path(page));
        file.unwrap().set_len(READ_BACK_BYTES).unwrap();
    };
    case.write("20260514-000000", "before\n");
    huge("20260514-000001");
    huge("20260514-000002");
    huge("20260514-000003");
    assert!(case.lines().0.is_empty());
    case.write("20260514-000000", "after\n");
    case.sees(&["before", "after"]);
    case.write("20260514-000001", "\nnext\n");
    case.tail.look_bytes = READ_BACK_BYTES + 6;
    case.sees(&["next"]);
}

#[test]
fn the_pages_that_were_written_last_are_read_back() {
    let mut case = Case::new();
    for number in 0..100 {
        case.write(&format!("20260514-{number:06}"), "newer\n");
    }
    case.write("20260513-000000", "written last\n");
    let path = case.path("20260513-000000");
    let file = OpenOptions::new().append(true).open(path).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
    file.set_modified(later).unwrap();
    let (lines, seen) = case.lines();
    seen.unwrap();
    assert_eq!((lines.len(), &*lines[0]), (READ_BACK_PAGES, "written last"));
}

#[test]
fn of_ten_thousand_pages_a_few_are_looked_at_each_time_and_all_when_the_folder_is_listed() {
    let mut case = Case::new();
    for number in 0..10_000 {
        let page = format!("20260514-{number:06}");
        fs::write(case.path(&page), line(number)).unwrap();
    }
    settle(&case);
    case.lines().1.unwrap();
    let near = |case: &Case| case.tail.pages.iter().filter(|page| page.near).count();
    assert_eq!(near(&case), NEAR_PAGES);

    case.write("20260514-000000", "oldest\n");
    for look in 0..59 {
        case.sees(&[]);
        assert!(!case.tail.folder.was_listed(), "look {look}");
    }
    case.sees(&[line(0).trim_end(), "oldest"]);
    assert_eq!(near(&case), NEAR_PAGES);
    // From then on it is among those that are looked at.
    case.write("20260514-000000", "again\n");
    case.sees(&["again"]);
    assert!(!case.tail.folder.was_listed());
}

#[test]
fn more_pages_than_are_kept_blind_until_they_are_removed() {
    let mut case = Case::new();
    case.tail.folder.most_pages = 3;
    case.write("20260514-000000", "one\n");
    case.sees(&["one"]);
    for page in ["01", "02", "03"] {
        case.write(&format!("20260514-0000{page}"), format!("{page}\n"));
    }
    case.write("20260514-000000", "two\n");
    for expected in [&["two"][..], &[]] {
        // What is followed is read on.
        let (lines, seen) = case.lines();
        assert_eq!(lines, expected);
        let blindness = seen.unwrap_err();
        assert!(matches!(blindness, Blindness::TooManyPages { .. }));
        assert!(blindness.to_string().contains("remove old ones"));
        assert_eq!(case.tail.pages.len(), 1);
        settle(&case);
    }
    fs::remove_file(case.path("20260514-000001")).unwrap();
    case.write("20260514-000000", "three\n");
    case.sees(&["three", "02", "03"]);

    // At the beginning too.
    case.tail = LogTail::new(case.folder.path());
    case.tail.folder.most_pages = 2;
    let (lines, seen) = case.lines();
    assert!(lines.is_empty() && matches!(seen, Err(Blindness::TooManyPages { .. })));
}

#[test]
fn what_is_no_file_is_no_page_and_does_not_make_every_look_list() {
    let mut case = Case::new();
    case.write("20260514-000000", "one\n");
    fs::create_dir(case.path("20260514-000001")).unwrap();
    settle(&case);
    case.sees(&["one"]);
    case.sees(&[]);
    assert!(!case.tail.folder.was_listed());
}

#[test]
fn one_look_reads_so_much_and_no_more() {
    let mut case = Case::new();
    case.tail.look_bytes = 10;
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    case.write("20260514-020000", "12345\n12345\nthree\nhalf");
    case.write("20260514-030000", "four\n");
    for (expected, more) in [
        (&["12345", "12345"][..], true),
        (&["three"], true),
        (&["four"], false),
        (&[], false),
    ] {
        let (lines, seen) = case.lines();
        assert_eq!(lines, expected);
        let behind = matches!(seen, Err(Blindness::Behind { .. }));
        assert!(behind == more && seen.is_ok() != more, "{seen:?}");
    }
}

#[test]
fn a_log_of_no_runner_blinds_when_there_is_enough_of_it() {
    let mut case = Case::new();
    let plain = |lines: usize| "plain\n".repeat(lines);
    case.write("20260514-020000", plain(19));
    case.lines().1.unwrap();
    case.write("20260514-020000", plain(1));
    let (_, seen) = case.lines();
    assert!(
        matches!(seen, Err(Blindness::UnknownFormat { .. })),
        "{seen:?}"
    );
    // It stays so while nothing is written.
    assert!(matches!(
        case.lines().1,
        Err(Blindness::UnknownFormat { .. })
    ));
    case.write("20260514-020000", line(1) + &plain(100));
    case.lines().1.unwrap();
    // An update that writes another format.
    case.write("20260514-030000", plain(20));
    let (_, seen) = case.lines();
    assert!(
        matches!(seen, Err(Blindness::UnknownFormat { .. })),
        "{seen:?}"
    );
    case.write("20260514-040000", line(1));
    case.lines().1.unwrap();
}

#[cfg(unix)]
#[test]
fn a_page_that_cannot_be_read_blinds_and_the_others_are_read() {
    let mut case = Case::new();
    case.write("20260514-020000", "one\n");
    case.sees(&["one"]);
    // A link in a ring, which even root cannot open.
    let ring = case.path("20260514-030000");
    std::os::unix::fs::symlink(&ring, &ring).unwrap();
    case.write("20260514-040000", "two\n");
    case.sees(&["two"]); // no file, no page
    fs::remove_file(&ring).unwrap();

    let folder = case.folder.path().join("ring");
    std::os::unix::fs::symlink(&folder, &folder).unwrap();
    case.tail = LogTail::new(&folder);
    let (_, seen) = case.lines();
    assert!(
        matches!(seen, Err(Blindness::Unreadable { .. })),
        "{seen:?}"
    );
}
