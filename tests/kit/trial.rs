//! Suites that decide at run time which cases they can run. Each case names the peers that it
//! needs. A case without its peer is *ignored*, with the reason. It never passes.
//!
//! With `RIPCORD_REQUIRE_INTEROP=1` a missing peer fails its cases, unless `RIPCORD_MAY_BE_MISSING`
//! names it (names with commas between them; `.ci/run` explains why). The last lines of a suite
//! report which peers were missing, and how many cases that concerned.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Completion, Trial};

use super::peers::Peer;

/// A case of a suite.
pub(crate) struct Case {
    name: String,
    needs: Vec<Peer>,
    run: Box<dyn FnOnce() + Send>,
}

impl Case {
    /// A case of that module (`module_path!()`).
    pub(crate) fn new(
        module: &str,
        name: &str,
        needs: &[Peer],
        run: impl FnOnce() + Send + 'static,
    ) -> Self {
        // In libtest's form: without the crate.
        let module = module.split_once("::").map(|(_, inner)| inner);
        let separator = if module.is_some() { "::" } else { "" };
        Self {
            name: format!("{}{separator}{name}", module.unwrap_or_default()),
            needs: needs.to_vec(),
            run: Box::new(run),
        }
    }
}

/// The cases of a module, by what they need: `[Go, Nginx] { first, second }`. A case may be a part
/// of a function: `name::part = || name(argument)`. `pairs { .. }` are functions of
/// [`Ends`](super::lab::Ends). Each of these is two cases, and the second one needs grpcio.
macro_rules! cases {
    ($($body:tt)*) => {
        pub(crate) fn cases() -> Vec<$crate::kit::trial::Case> {
            let mut cases = Vec::new();
            $crate::kit::trial::add_cases!(cases $($body)*);
            cases
        }
    };
}
pub(crate) use cases;

macro_rules! add_cases {
    ($to:ident) => {};
    ($to:ident pairs { $($name:ident),* $(,)? } $($rest:tt)*) => {
        $(
            $crate::kit::trial::add_cases!($to [Go] {
                $name = || $name($crate::kit::lab::Ends::Go)
            });
            $crate::kit::trial::add_cases!($to [Go, Grpcio] {
                $name::with_grpcio = || $name($crate::kit::lab::Ends::Grpcio)
            });
        )*
        $crate::kit::trial::add_cases!($to $($rest)*);
    };
    ($to:ident $needs:tt {
        $($name:ident $(:: $part:ident)? $(= $run:expr)?),* $(,)?
    } $($rest:tt)*) => {
        $to.extend([$($crate::kit::trial::Case::new(
            module_path!(),
            concat!(stringify!($name) $(, "::", stringify!($part))?),
            $crate::kit::trial::needs! $needs,
            $crate::kit::trial::body!($name $(, $run)?),
        )),*]);
        $crate::kit::trial::add_cases!($to $($rest)*);
    };
}
pub(crate) use add_cases;

macro_rules! needs {
    ($($peer:ident),*) => {
        &[$($crate::kit::peers::Peer::$peer),*]
    };
}
pub(crate) use needs;

macro_rules! body {
    ($name:ident) => {
        $name
    };
    ($name:ident, $run:expr) => {
        $run
    };
}
pub(crate) use body;

/// What each missing peer causes: why it is missing, how many cases were ignored and how many
/// failed. A case may need several.
type Cost = BTreeMap<Peer, (String, [usize; 2])>;

/// Runs the cases as libtest does, with its arguments.
pub(crate) fn run(suite: &str, cases: Vec<Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let threads = std::env::var("RUST_TEST_THREADS").ok();
    let threads = threads.and_then(|text| text.parse().ok());
    arguments.test_threads = arguments.test_threads.or(threads);
    let strict = std::env::var("RIPCORD_REQUIRE_INTEROP").is_ok_and(|v| v == "1");
    let excused = excused(&std::env::var("RIPCORD_MAY_BE_MISSING").unwrap_or_default());
    let cost = Arc::<Mutex<Cost>>::default();
    let trials = cases.into_iter().map(|case| {
        let (excused, cost) = (excused.clone(), Arc::clone(&cost));
        Trial::ignorable_test(case.name, move || {
            let missing = case.needs.iter().filter_map(|p| Some((*p, p.missing()?)));
            let missing: Vec<_> = missing.collect();
            if missing.is_empty() {
                (case.run)();
                return Ok(Completion::Completed);
            }
            let fails = |(peer, _): &(Peer, String)| strict && !excused.contains(peer);
            let failed = missing.iter().any(fails);
            let mut cost = cost.lock().unwrap();
            let guilty = missing.iter().filter(|missing| fails(missing) == failed);
            for (peer, why) in guilty {
                let (_, counts) = cost.entry(*peer).or_insert((why.clone(), [0; 2]));
                counts[usize::from(failed)] += 1;
            }
            let reasons: Vec<_> = missing.into_iter().map(|(_, why)| why).collect();
            let why = reasons.join(", ");
            if failed {
                return Err(format!("RIPCORD_REQUIRE_INTEROP=1, but {why}").into());
            }
            Ok(Completion::ignored_with(why))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    for (peer, (why, [ignored, failed])) in cost.lock().unwrap().iter() {
        let name = peer.name();
        println!("missing in {suite}: {name}: cases ignored {ignored}, failed {failed}: {why}");
    }
    conclusion.exit_code()
}

/// The peers of a list. A name that no peer has would excuse no case, and nobody would notice.
fn excused(names: &str) -> Vec<Peer> {
    let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
    let peer = |name: &str| {
        let found = Peer::ALL.into_iter().find(|peer| peer.name() == name);
        found.unwrap_or_else(|| panic!("RIPCORD_MAY_BE_MISSING: no peer is called {name}"))
    };
    names.map(peer).collect()
}
