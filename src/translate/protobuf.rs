//! Protobuf IDL files: read with their imports, or from a descriptor set.
//!
//! Files in `proto2` and `proto3` are read, as `protox` reads them. Names of imports are looked for
//! in the folders of the schema, as `protoc -I` does. The well-known types need no file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Finding, Place, Severity, Sources};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor,
};

mod load;
#[cfg(test)]
mod tests;

/// Where a schema's protobuf side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `.proto` files, and the folders in which imports are looked for. A file that is in none of
    /// these folders is named by its own folder.
    Files {
        /// The schema's own files.
        files: Vec<PathBuf>,
        /// Folders, the first wins.
        include: Vec<PathBuf>,
    },
    /// A `google.protobuf.FileDescriptorSet`, with all imports. Places within its files are known
    /// where it was written with `--include_source_info`.
    DescriptorSet(PathBuf),
}

/// Everything that the protobuf files of a schema declare.
#[derive(Clone, Debug)]
pub struct Protobuf {
    pool: DescriptorPool,
    /// By the name in the pool: how people name the file, and where in it things are, by the path
    /// of `SourceCodeInfo` (line and column from 1).
    files: HashMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    shown: Arc<str>,
    /// One of the schema's own, not an import.
    is_main: bool,
    places: HashMap<Vec<i32>, (u32, u32)>,
    comments: HashMap<Vec<i32>, String>,
}

impl Protobuf {
    /// All files, with imports.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Whether the schema names this file, and it is not only an import. In a descriptor set that
    /// is each file but the well-known types.
    #[must_use]
    pub fn is_main(&self, file: &FileDescriptor) -> bool {
        self.files.get(file.name()).is_some_and(|f| f.is_main)
    }

    /// Where the name of `item` stands.
    #[must_use]
    pub fn place(&self, item: &impl Declared) -> Place {
        let (file, mut path) = item.locate();
        let unknown = |file: &str| Place {
            file: file.into(),
            line: 0,
            column: 0,
        };
        let Some(known) = self.files.get(file.name()) else {
            return unknown(file.name());
        };
        let whole = known.places.get(&path);
        // Each kind of declaration has its name in field 1.
        path.push(1);
        match known.places.get(&path).or(whole) {
            Some(&(line, column)) => Place {
                file: Arc::clone(&known.shown),
                line,
                column,
            },
            None => unknown(&known.shown),
        }
    }

    /// The comment before `item`, or behind it, without comment marks.
    #[must_use]
    pub fn comment(&self, item: &impl Declared) -> &str {
        let (file, path) = item.locate();
        let known = self.files.get(file.name());
        known
            .and_then(|k| k.comments.get(&path))
            .map_or("", String::as_str)
    }
}

/// What has a name and a place in a `.proto` file.
pub trait Declared {
    /// Its file, and its path by the rules of `SourceCodeInfo`.
    fn locate(&self) -> (FileDescriptor, Vec<i32>);
}

macro_rules! declared {
    ($($kind:ty: $self:ident => $file:expr;)*) => {
        $(impl Declared for $kind {
            fn locate(&self) -> (FileDescriptor, Vec<i32>) {
                let $self = self;
                ($file, self.path().to_vec())
            }
        })*
    };
}

declared! {
    MessageDescriptor: it => it.parent_file();
    FieldDescriptor: it => it.parent_file();
    OneofDescriptor: it => it.parent_file();
    EnumDescriptor: it => it.parent_file();
    EnumValueDescriptor: it => it.parent_enum().parent_file();
    ServiceDescriptor: it => it.parent_file();
    MethodDescriptor: it => it.parent_file();
}

/// Reads the protobuf side of a schema.
///
/// # Errors
/// What is wrong in the files, each with its place.
pub fn read(input: &Input, sources: &Sources) -> Result<Protobuf, Vec<Finding>> {
    match input {
        Input::Files { files, include } => load::read_files(files, include, sources),
        Input::DescriptorSet(path) => read_set(path, sources),
    }
}

fn read_set(path: &Path, sources: &Sources) -> Result<Protobuf, Vec<Finding>> {
    let shown = path.display().to_string();
    let fault = |text| vec![fault(text, whole(&shown))];
    let bytes = sources
        .read(path)
        .map_err(|e| fault(format!("this file cannot be read: {e}")))?;
    let pool = DescriptorPool::decode(&*bytes).map_err(|e| {
        let place = e.file().map(|f| format!(" (in {f})")).unwrap_or_default();
        fault(format!("this is no set of descriptors: {e}{place}"))
    })?;
    let mains = pool
        .files()
        .filter(|f| !f.name().starts_with("google/protobuf/"));
    let shown = mains
        .map(|f| (f.name().to_owned(), (f.name().into(), true)))
        .collect();
    Ok(finish(pool, &shown))
}

/// The pool with the places of its files.
fn finish(pool: DescriptorPool, shown: &BTreeMap<String, (Arc<str>, bool)>) -> Protobuf {
    let mut files = HashMap::new();
    for file in pool.files() {
        let (shown, is_main) = match shown.get(file.name()) {
            Some((shown, is_main)) => (Arc::clone(shown), *is_main),
            None => (file.name().into(), false),
        };
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let mut known = Known {
            shown,
            is_main,
            places: HashMap::new(),
            comments: HashMap::new(),
        };
        for location in info.map_or(&[][..], |i| &i.location) {
            if let [line, column, ..] = *location.span {
                let from_1 = |n: i32| u32::try_from(n).unwrap_or(0).saturating_add(1);
                let place = (from_1(line), from_1(column));
                known.places.entry(location.path.clone()).or_insert(place);
            }
            let comment = location.leading_comments().trim();
            let comment = match comment {
                "" => location.trailing_comments().trim(),
                comment => comment,
            };
            if !comment.is_empty() {
                known.comments.insert(location.path.clone(), comment.into());
            }
        }
        files.insert(file.name().to_owned(), known);
    }
    Protobuf { pool, files }
}

fn whole(file: &str) -> Place {
    Place {
        file: file.into(),
        line: 0,
        column: 0,
    }
}

fn fault(text: impl Into<String>, place: Place) -> Finding {
    Finding {
        severity: Severity::Error,
        text: text.into(),
        places: vec![place],
    }
}
