//! The names by which a stream came. They serve a cancel that brings no path of its own.

use std::borrow::Cow;

use crate::stream::Path;

/// The most bytes of the wire form. Beyond it, the middle is cut.
const MAX_BYTES: usize = 512;

/// A wire form up to this length cannot have too long names, nor too many.
const SHORT: usize = 60;

/// Room for the name of the next hop.
const ROOM: usize = 32;

/// The caller's name, then the name of each hop. It is the path of the caller's cancel when nothing
/// better is known. Each hop writes it, and it is believed as far as `source-service` is.
///
/// It is kept in the wire form of a [`Path`], since nearly every stream only passes it on.
///
/// It also says whose limit the stream's deadline is, if that is known: one of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hops {
    names: String,
    /// The position among the names of the one who set the deadline.
    limit_of: Option<u8>,
}

impl Hops {
    /// A stream that came from its caller directly. A deadline is the caller's.
    #[must_use]
    pub fn from_origin(name: &str) -> Self {
        let name = cleaned(name, false);
        let mut names = String::with_capacity(name.len() + ROOM);
        names.push_str(&name);
        Self {
            names,
            limit_of: Some(0),
        }
    }

    /// The value that the hop before sent, cleaned and bounded; `None` if it is empty. Whose limit a
    /// deadline is stands in [`Hops::limit_wire`].
    #[must_use]
    pub fn parse(wire: &str) -> Option<Self> {
        if wire.is_empty() {
            return None;
        }
        let mut hops = Self {
            names: cleaned(wire, true).into_owned(),
            limit_of: None,
        };
        hops.bound();
        Some(hops)
    }

    /// Reads whose limit the deadline is, in the form of [`Hops::limit_wire`]. It counts only if it
    /// is about as many names as there are: a hop that does not know it adds a name and hands it on
    /// as it was.
    pub fn read_limit(&mut self, said: &str) {
        self.limit_of = said.split_once('/').and_then(|(at, of)| {
            let (at, of): (usize, usize) = (at.parse().ok()?, of.parse().ok()?);
            let fits = of == self.count() && at <= of;
            u8::try_from(at.checked_sub(1)?).ok().filter(|_| fits)
        });
    }

    /// Whose limit the deadline is, for the next hop: `1/3` is the first of three names. `None` if
    /// it is not known.
    #[must_use]
    pub fn limit_wire(&self) -> Option<String> {
        self.limit_of
            .map(|at| format!("{}/{}", u32::from(at) + 1, self.count()))
    }

    /// The names from the one who set the deadline to the last hop: the path of a cancel at the
    /// deadline. `None` if it is not known who set it.
    #[must_use]
    pub fn limit_path(&self) -> Option<Path> {
        let at = usize::from(self.limit_of?);
        let mut path = Path::new();
        for name in self.names.split(',').skip(at) {
            path.append(name);
        }
        Some(path)
    }

    /// The last name set the deadline.
    pub fn limit_here(&mut self) {
        self.limit_of = u8::try_from(self.count() - 1).ok();
    }

    /// Appends the name of a hop that passes the stream on.
    pub fn append(&mut self, node: &str) {
        self.names.push(',');
        self.names.push_str(&cleaned(node, false));
        self.bound();
    }

    /// The names as a path.
    #[must_use]
    pub fn path(&self) -> Path {
        Path::parse(&self.names)
    }

    /// The names joined by commas, the caller first.
    #[must_use]
    pub fn as_wire(&self) -> &str {
        &self.names
    }

    /// How many names there are. A list that was cut has fewer than the stream passed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.split(',').count()
    }

    /// What is cut are the names behind the first one. A name that set the deadline and is cut
    /// leaves the mark in its place.
    fn bound(&mut self) {
        if self.names.len() > MAX_BYTES {
            let before = self.count();
            self.names = self.path().shortened(MAX_BYTES).to_wire();
            let gone = u8::try_from(before.saturating_sub(self.count())).unwrap_or(u8::MAX);
            self.limit_of = self.limit_of.map(|at| match at {
                0 => 0,
                at => at.saturating_sub(gone).max(1),
            });
        }
    }
}

/// A name, or a list of them, as a path holds it. Nearly all names are clean already.
fn cleaned(names: &str, list: bool) -> Cow<'_, str> {
    let plain = |b: &u8| (b' '..=b'~').contains(b) && (*b != b',' || list);
    if names.len() <= SHORT && names.as_bytes().iter().all(plain) {
        return Cow::Borrowed(names);
    }
    let path = if list {
        Path::parse(names)
    } else {
        Path::from_origin(names)
    };
    Cow::Owned(path.to_wire())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_stay_small() {
        let mut hops = Hops::from_origin("a,\u{1}b");
        hops.append("hop,1");
        assert_eq!(hops.as_wire(), "ab,hop1");
        assert_eq!(hops.path().names(), ["ab", "hop1"]);
        for i in 0..500 {
            hops.append(&format!("node-{i}"));
            assert!(hops.as_wire().len() <= MAX_BYTES + 8);
        }
        let path = hops.path();
        assert_eq!(path.names()[..2], ["ab", "..."]);
        assert_eq!(path.names().last().unwrap(), "node-499");
        let long = vec!["x".repeat(128); 64].join(",");
        assert!(Hops::parse(&long).unwrap().as_wire().len() <= MAX_BYTES + 8);
    }

    #[test]
    fn a_caller_without_a_name_keeps_its_place() {
        let mut hops = Hops::from_origin("");
        hops.append("a");
        assert_eq!(hops.path().names(), ["", "a"]);
        assert_eq!(
            Hops::parse(hops.as_wire()).unwrap().as_wire(),
            hops.as_wire()
        );
        assert_eq!(Hops::parse(""), None);
    }

    #[test]
    fn the_owner_of_a_limit_travels_with_the_names() {
        let names = |hops: &Hops| hops.limit_path().map(|path| path.to_wire());
        let mut hops = Hops::from_origin("app");
        hops.append("a");
        assert_eq!(hops.limit_wire().as_deref(), Some("1/2"));
        let mut next = Hops::parse(hops.as_wire()).unwrap();
        assert_eq!((names(&next), next.limit_wire()), (None, None));
        next.read_limit("1/2");
        assert_eq!(names(&next).as_deref(), Some("app,a"));
        next.append("b");
        assert_eq!(names(&next).as_deref(), Some("app,a,b"));
        next.limit_here();
        assert_eq!(next.limit_wire().as_deref(), Some("3/3"));
        next.append("c");
        assert_eq!(names(&next).as_deref(), Some("b,c"));
        // Written beside another list, or by nobody that knows the form.
        for said in ["1/3", "0/4", "5/4", "-1/4", "1", "/", "", "x/4", "300/4"] {
            next.read_limit(said);
            assert_eq!(names(&next), None, "{said:?}");
        }
    }

    #[test]
    fn the_owner_of_a_limit_outlives_a_cut() {
        let mut callers = Hops::from_origin("app");
        let mut own = Hops::from_origin("app");
        own.append("owner");
        own.limit_here();
        for i in 0..200 {
            callers.append(&format!("node-{i}"));
            own.append(&format!("node-{i}"));
        }
        let first = |hops: &Hops| hops.limit_path().unwrap().origin().unwrap().to_owned();
        assert_eq!((first(&callers), first(&own)), ("app".into(), "...".into()));
    }
}
