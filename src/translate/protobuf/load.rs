//! Reads `.proto` files and what they import.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorError, DescriptorPool};
use protox::file::{File, FileResolver as _, GoogleFileResolver};

use super::{Finding, Place, Protobuf, Sources, fault, finish, whole};

/// The most files that one schema may have, imports included.
const MAX_FILES: usize = 2000;

/// The most bytes of all files of one schema.
const MAX_BYTES: usize = 64 << 20;

/// A file on its way into the pool.
struct Parsed {
    shown: Arc<str>,
    is_main: bool,
    descriptor: FileDescriptorProto,
}

impl Parsed {
    /// Where import number `index` stands.
    fn import_place(&self, index: usize) -> Place {
        let info = self.descriptor.source_code_info.as_ref();
        let path = [3, i32::try_from(index).unwrap_or(i32::MAX)];
        let locations = info.map_or(&[][..], |i| &i.location);
        let span = locations.iter().find(|l| l.path == path);
        match span.map(|l| &*l.span) {
            Some(&[line, column, ..]) => Place {
                file: Arc::clone(&self.shown),
                line: u32::try_from(line).unwrap_or(0).saturating_add(1),
                column: u32::try_from(column).unwrap_or(0).saturating_add(1),
            },
            _ => whole(&self.shown),
        }
    }
}

struct Loader<'a> {
    include: Vec<PathBuf>,
    sources: &'a Sources,
    parsed: BTreeMap<String, Parsed>,
    /// Names that were parsed, or that have a finding.
    tried: BTreeSet<String>,
    /// Names whose imports are still to be read.
    open: Vec<String>,
    bytes: usize,
    findings: Vec<Finding>,
}

/// Reads the schema's own files with what they import.
pub(super) fn read_files(
    files: &[PathBuf],
    include: &[PathBuf],
    sources: &Sources,
) -> Result<Protobuf, Vec<Finding>> {
    let mut loader = Loader {
        include: include.iter().map(|i| plain(i)).collect(),
        sources,
        parsed: BTreeMap::new(),
        tried: BTreeSet::new(),
        open: Vec::new(),
        bytes: 0,
        findings: Vec::new(),
    };
    for file in files {
        loader.main(file);
    }
    while let Some(name) = loader.open.pop() {
        loader.imports(&name);
    }
    if !loader.findings.is_empty() {
        return Err(loader.findings);
    }
    loader.build()
}

/// Without `.` in it.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|c| !matches!(c, Component::CurDir)).collect()
}

/// The name of a main file, as an import would write it, and the folder that this name is in.
fn name_of(path: &Path, include: &[PathBuf]) -> Option<(String, Option<PathBuf>)> {
    let text = |p: &Path| {
        let parts: Option<Vec<_>> = p.components().map(|c| c.as_os_str().to_str()).collect();
        parts.map(|p| p.join("/"))
    };
    let inside = include.iter().find_map(|i| path.strip_prefix(i).ok());
    match inside {
        Some(inside) => text(inside).map(|name| (name, None)),
        None => {
            let name = text(Path::new(path.file_name()?))?;
            Some((name, path.parent().map(Path::to_owned)))
        }
    }
}

impl Loader<'_> {
    fn main(&mut self, path: &Path) {
        let path = plain(path);
        let shown = path.display().to_string();
        let Some((name, folder)) = name_of(&path, &self.include) else {
            let finding = fault("this is no name of a file", whole(&shown));
            return self.findings.push(finding);
        };
        if let Some(folder) = folder.filter(|f| !self.include.contains(f)) {
            self.include.push(folder);
        }
        if let Some(known) = self.parsed.get_mut(&name) {
            known.is_main = true;
            return;
        }
        match self.sources.read(&path) {
            Ok(bytes) => self.parse(&name, &shown, &bytes, true),
            Err(e) => {
                let text = format!("this file cannot be read: {e}");
                self.findings.push(fault(text, whole(&shown)));
            }
        }
    }

    fn parse(&mut self, name: &str, shown: &str, bytes: &[u8], is_main: bool) {
        self.tried.insert(name.to_owned());
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES || self.parsed.len() >= MAX_FILES {
            let text = format!(
                "a schema has at most {MAX_FILES} files with {} MiB; this one is one too many",
                MAX_BYTES >> 20
            );
            return self.findings.push(fault(text, whole(shown)));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.findings.push(fault("this is no UTF-8", whole(shown)));
        };
        match File::from_source(name, text) {
            Ok(file) => {
                let parsed = Parsed {
                    shown: shown.into(),
                    is_main,
                    descriptor: file.into(),
                };
                self.parsed.insert(name.to_owned(), parsed);
                self.open.push(name.to_owned());
            }
            Err(error) => {
                let (line, column) = position(&format!("{error:?}"), name);
                let place = Place {
                    file: shown.into(),
                    line,
                    column,
                };
                self.findings.push(fault(reason(&error.to_string()), place));
            }
        }
    }

    /// Reads what the file `name` imports.
    fn imports(&mut self, name: &str) {
        let Some(parsed) = self.parsed.get(name) else {
            return;
        };
        let imports = parsed.descriptor.dependency.iter().enumerate();
        let imports: Vec<_> = imports
            .filter(|(_, i)| !self.tried.contains(*i))
            .map(|(at, i)| (i.clone(), parsed.import_place(at)))
            .collect();
        for (import, place) in imports {
            if self.tried.insert(import.clone())
                && let Err(text) = self.import(&import)
            {
                self.findings.push(fault(text, place));
            }
        }
    }

    fn import(&mut self, name: &str) -> Result<(), String> {
        let inside = |c| matches!(c, Component::Normal(_));
        if name.is_empty() || !Path::new(name).components().all(inside) || name.contains('\\') {
            return Err(format!("`{name}` is no name that can be imported"));
        }
        for folder in &self.include {
            let path = folder.join(name);
            if let Ok(bytes) = self.sources.read(&path) {
                let shown = path.display().to_string();
                self.parse(name, &shown, &bytes, false);
                return Ok(());
            }
        }
        if let Ok(file) = GoogleFileResolver::new().open_file(name) {
            let parsed = Parsed {
                shown: name.into(),
                is_main: false,
                descriptor: file.into(),
            };
            self.parsed.insert(name.to_owned(), parsed);
            self.open.push(name.to_owned());
            return Ok(());
        }
        let shown = |folder: &PathBuf| match folder.as_os_str().is_empty() {
            true => "`.`".to_owned(),
            false => format!("`{}`", folder.display()),
        };
        let folders: Vec<_> = self.include.iter().map(shown).collect();
        Err(format!(
            "`{name}` is in none of the folders {}; add the one where it is to `include`",
            folders.join(", ")
        ))
    }
}

impl Loader<'_> {
    /// Puts all files into a pool, each after those that it imports.
    fn build(self) -> Result<Protobuf, Vec<Finding>> {
        let order = self.order()?;
        let mut pool = DescriptorPool::new();
        let mut shown = BTreeMap::new();
        let mut parsed = self.parsed;
        for name in order {
            let Some(file) = parsed.remove(&name) else {
                continue;
            };
            shown.insert(name, (Arc::clone(&file.shown), file.is_main));
            pool.add_file_descriptor_proto(file.descriptor)
                .map_err(|e| vec![unresolved(&e, &shown)])?;
        }
        Ok(finish(pool, &shown))
    }

    /// The names of all files, each after those that it imports. No recursion: the chain of
    /// imports may be long.
    fn order(&self) -> Result<Vec<String>, Vec<Finding>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            Open,
            Done,
        }
        let mut marks: HashMap<&str, Mark> = HashMap::new();
        let mut order = Vec::new();
        for start in self.parsed.keys() {
            // Files that are open, each with the index of its next import.
            let mut stack: Vec<(&str, usize)> = vec![(start, 0)];
            while let Some((name, next)) = stack.pop() {
                if next == 0 && marks.contains_key(name) {
                    continue;
                }
                let imports = self.parsed.get(name).map(|p| &p.descriptor.dependency);
                let Some(import) = imports.and_then(|i| i.get(next)) else {
                    marks.insert(name, Mark::Done);
                    order.push(name.to_owned());
                    continue;
                };
                marks.insert(name, Mark::Open);
                stack.push((name, next + 1));
                match marks.get(&**import) {
                    Some(Mark::Done) => {}
                    Some(Mark::Open) => {
                        let text = format!("`{import}` imports this file: that is a circle");
                        let place = self.parsed.get(name).map(|p| p.import_place(next));
                        return Err(vec![fault(text, place.unwrap_or_else(|| whole(name)))]);
                    }
                    None => stack.push((import, 0)),
                }
            }
        }
        Ok(order)
    }
}

/// A name that means nothing, or twice the same.
fn unresolved(error: &DescriptorError, shown: &BTreeMap<String, (Arc<str>, bool)>) -> Finding {
    let file = error.file().unwrap_or_default();
    let from_1 = |n: Option<usize>| n.and_then(|n| u32::try_from(n + 1).ok()).unwrap_or(0);
    let place = Place {
        file: shown
            .get(file)
            .map_or_else(|| file.into(), |s| Arc::clone(&s.0)),
        line: from_1(error.line()),
        column: from_1(error.column()),
    };
    fault(error.to_string(), place)
}

/// Line and column of a text `NAME:LINE:COLUMN: ...`, or zeros.
fn position(text: &str, name: &str) -> (u32, u32) {
    let find = || {
        let rest = text.strip_prefix(name)?.strip_prefix(':')?;
        let (line, rest) = rest.split_once(':')?;
        let (column, _) = rest.split_once(':')?;
        Some((line.parse().ok()?, column.parse().ok()?))
    };
    find().unwrap_or((0, 0))
}

/// What the compiler says, in the words of this program where it helps.
fn reason(text: &str) -> String {
    if text.contains("found 'edition'") {
        return "editions are not read: write the file in `syntax = \"proto3\"`".into();
    }
    text.to_owned()
}
