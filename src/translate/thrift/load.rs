//! The files of a schema and their includes.

use std::collections::{HashMap, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::lexer::{At, Fault, short};
use super::parse::parse;
use super::tree::{File, Include};
use super::{MAX_FILE, MAX_FILES, MAX_FINDINGS, MAX_TOTAL};
use crate::translate::{Finding, Place, Severity, Sources};

/// A file of the schema.
pub(super) struct Unit {
    /// How places name it.
    pub(super) name: Arc<str>,
    /// The schema names it itself: it is not only an include.
    pub(super) is_main: bool,
    pub(super) file: File,
    /// What it includes: the prefix of the names from there, and an index of a unit.
    pub(super) includes: Vec<(Arc<str>, usize)>,
}

impl Unit {
    pub(super) fn place(&self, at: At) -> Place {
        Place {
            file: Arc::clone(&self.name),
            line: at.line,
            column: at.column,
        }
    }
}

/// An error at one place.
pub(super) fn error(text: impl Into<String>, places: Vec<Place>) -> Finding {
    Finding {
        severity: Severity::Error,
        text: text.into(),
        places,
    }
}

/// Reads `files` and what they include, each file once. The schema's own files come first.
///
/// # Errors
/// Everything that is wrong with the files one by one, and includes in a circle.
pub(super) fn load(
    files: &[PathBuf],
    include: &[PathBuf],
    sources: &Sources,
) -> Result<Vec<Unit>, Vec<Finding>> {
    let mut loader = Loader {
        include,
        sources,
        units: Vec::new(),
        known: HashMap::new(),
        waiting: VecDeque::new(),
        bytes: 0,
        findings: Vec::new(),
    };
    for path in files {
        let name = shown(path);
        if let Err(text) = loader.open(path, true) {
            let place = Place {
                file: name,
                line: 0,
                column: 0,
            };
            let text = format!("the file cannot be read: {text}");
            loader.findings.push(error(text, vec![place]));
        }
    }
    while let Some(unit) = loader.waiting.pop_front() {
        if loader.findings.len() >= MAX_FINDINGS {
            break;
        }
        loader.includes(unit);
    }
    if loader.findings.is_empty() {
        let places = circle(&loader.units);
        if !places.is_empty() {
            let text = "these files include each other in a circle: no compiler takes that";
            loader.findings.push(error(text, places));
        }
    }
    match loader.findings.is_empty() {
        true => Ok(loader.units),
        false => Err(loader.findings),
    }
}

struct Loader<'a> {
    include: &'a [PathBuf],
    sources: &'a Sources,
    units: Vec<Unit>,
    /// The units by their paths without detours.
    known: HashMap<PathBuf, usize>,
    /// Units whose includes are not yet read, each with its folder.
    waiting: VecDeque<(usize, PathBuf)>,
    bytes: usize,
    findings: Vec<Finding>,
}

impl Loader<'_> {
    /// The unit for the file at `path`. If it cannot be read: why not.
    fn open(&mut self, path: &Path, is_main: bool) -> Result<usize, String> {
        let key = plain(path);
        if let Some(unit) = self.known.get(&key) {
            return Ok(*unit);
        }
        let bytes = self.sources.read(path).map_err(|e| e.to_string())?;
        let name = shown(&key);
        self.bytes = self.bytes.saturating_add(bytes.len());
        let refusal = if bytes.len() > MAX_FILE {
            Some(format!("the file has more than {} MiB", MAX_FILE >> 20))
        } else if self.bytes > MAX_TOTAL {
            let most = MAX_TOTAL >> 20;
            Some(format!("the schema's files have more than {most} MiB"))
        } else if self.units.len() >= MAX_FILES {
            Some(format!("the schema has more than {MAX_FILES} files"))
        } else {
            None
        };
        let parsed = match refusal {
            Some(text) => {
                let at = At { line: 0, column: 0 };
                (File::default(), vec![Fault { text, at }])
            }
            None => text(&bytes).map_or_else(|fault| (File::default(), vec![fault]), parse),
        };
        let (file, faults) = parsed;
        let is_good = faults.is_empty();
        let unit = Unit {
            name,
            is_main,
            file,
            includes: Vec::new(),
        };
        for fault in faults {
            let finding = error(fault.text, vec![unit.place(fault.at)]);
            self.findings.push(finding);
        }
        let index = self.units.len();
        self.units.push(unit);
        self.known.insert(key, index);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if is_good {
            self.waiting.push_back((index, folder));
        }
        Ok(index)
    }

    /// Reads what a unit includes.
    fn includes(&mut self, (index, folder): (usize, PathBuf)) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let name = Arc::clone(&unit.name);
        let wanted: Vec<Include> = unit.file.includes.clone();
        let mut found = Vec::new();
        for Include { path, at } in wanted {
            match self.look_up(&folder, &path) {
                Ok(unit) => found.push((prefix(&path), unit)),
                Err(text) => {
                    let place = Place {
                        file: Arc::clone(&name),
                        line: at.line,
                        column: at.column,
                    };
                    let text = format!("the include {:?} is not found: {text}", short(&path));
                    self.findings.push(error(text, vec![place]));
                }
            }
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
        }
        if let Some(unit) = self.units.get_mut(index) {
            unit.includes = found;
        }
    }

    fn look_up(&mut self, folder: &Path, path: &str) -> Result<usize, String> {
        let folders = std::iter::once(folder).chain(self.include.iter().map(PathBuf::as_path));
        let mut tried = Vec::new();
        for folder in folders {
            let path = folder.join(path);
            match self.open(&path, false) {
                Err(why) => {
                    let text = format!("{} ({why})", short(&path.display().to_string()));
                    if !tried.contains(&text) {
                        tried.push(text);
                    }
                }
                Ok(unit) => return Ok(unit),
            }
        }
        Err(tried.join(", "))
    }
}

/// The text of a file.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        let (lines, line) = match before.rsplit_once('\n') {
            Some((lines, line)) => (lines.matches('\n').count().saturating_add(1), line),
            None => (0, &*before),
        };
        let from_one = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Fault {
            text: "the file is not UTF-8 from here on".to_owned(),
            at: At {
                line: from_one(lines),
                column: from_one(line.chars().count()),
            },
        }
    })
}

/// A path without `.` and without `..` that a folder before it takes back. It names a file, it does
/// not open it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// The prefix of names from an include: its name without folders and without its extension.
fn prefix(path: &str) -> Arc<str> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).into()
}

/// The includes of a circle, in their order, if there is one.
fn circle(units: &[Unit]) -> Vec<Place> {
    /// How far the search is with a unit.
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; units.len()];
    for start in 0..units.len() {
        // The way to where the search is: units, each with how many of its includes were taken.
        let mut way = vec![(start, 0_usize)];
        if states.get(start) != Some(&State::New) {
            continue;
        }
        while let Some((unit, taken)) = way.last_mut() {
            let unit = *unit;
            let next = units.get(unit).and_then(|u| u.includes.get(*taken));
            *taken = taken.saturating_add(1);
            let (next, state) = match next {
                Some((_, next)) => (*next, State::Open),
                None => (unit, State::Done),
            };
            if let Some(state_of) = states.get_mut(unit) {
                *state_of = state;
            }
            if state == State::Done {
                way.pop();
                continue;
            }
            match states.get(next) {
                Some(State::New) => way.push((next, 0)),
                Some(State::Open) => {
                    let first = way.iter().position(|(unit, _)| *unit == next);
                    let circle = way.get(first.unwrap_or(0)..).unwrap_or_default();
                    return circle
                        .iter()
                        .filter_map(|w| included_at(units, *w))
                        .collect();
                }
                Some(State::Done) | None => {}
            }
        }
    }
    Vec::new()
}

/// Where a unit includes the last one of those that were taken.
fn included_at(units: &[Unit], (unit, taken): (usize, usize)) -> Option<Place> {
    let unit = units.get(unit)?;
    let include = unit.file.includes.get(taken.checked_sub(1)?)?;
    Some(unit.place(include.at))
}
