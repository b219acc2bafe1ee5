//! A scripted file under a paused clock, and once a real one.

use super::*;
use std::cell::{Cell, RefCell};
use tokio::time::Instant;

const GOOD: &str = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: grpc, endpoints: [127.0.0.1:8888] } }
routes: [{ name: r, backend: b }]
";

fn other() -> String {
    GOOD.replace("8888", "9999")
}

fn config(text: &str) -> Arc<Config> {
    Arc::new(super::super::parse("f", text).unwrap())
}

/// A file whose content is set by the test, and the events of following it, with their times.
struct Scene {
    file: RefCell<Result<String, ()>>,
    /// The content of the IDL files.
    disk: Cell<u64>,
    hup: Notify,
    events: RefCell<Vec<(u64, String)>>,
    start: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            file: RefCell::new(Ok(GOOD.to_owned())),
            disk: Cell::new(1),
            hup: Notify::new(),
            events: RefCell::default(),
            start: Instant::now(),
        }
    }

    fn write(&self, text: &str) {
        *self.file.borrow_mut() = Ok(text.to_owned());
    }

    /// Follows the file while the script runs; the clock moves by itself.
    async fn play(&self, script: impl AsyncFnOnce(&Self)) {
        let look = || {
            let file = match self.file.borrow().clone() {
                Ok(text) => Ok(text.into_bytes()),
                Err(()) => Err("gone".to_owned()),
            };
            std::future::ready(Look {
                file,
                attached: self.disk.get(),
            })
        };
        // An IDL file that is 0 is bad; any other number is what it says.
        let read = |_: Arc<Config>| {
            let number = self.disk.get();
            std::future::ready(match number {
                0 => (Err(vec![Fault::whole("bad IDL".to_owned())]), 0),
                _ => (Ok((number, Vec::new())), number),
            })
        };
        let told = |reload| {
            let text = match reload {
                Reload::Good {
                    config, attached, ..
                } => {
                    format!("good {} {attached}", config.backends["b"].endpoints[0])
                }
                Reload::Bad(faults) => format!("bad {faults}"),
                Reload::Unchanged => "unchanged".to_owned(),
            };
            let at = u64::try_from(self.start.elapsed().as_millis()).unwrap();
            self.events.borrow_mut().push((at, text));
        };
        tokio::select! {
            () = follow("f", look, read, (config(GOOD), 1), &self.hup, told) => panic!("ended"),
            () = script(self) => {}
        }
    }

    /// The events since the last call.
    fn events(&self) -> Vec<(u64, String)> {
        self.events.take()
    }
}

/// Waits on the paused clock, so that nothing depends on the machine's speed.
async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_file_is_not_mentioned() {
    let scene = Scene::new();
    scene.play(async |_| seconds(60).await).await;
    assert_eq!(scene.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_once_it_has_settled() {
    let scene = Scene::new();
    let script = async |scene: &Scene| {
        seconds(3).await;
        scene.write(&other());
        seconds(20).await;
    };
    scene.play(script).await;
    let [(at, event)] = <[_; 1]>::try_from(scene.events()).unwrap();
    assert_eq!(event, "good 127.0.0.1:9999 1");
    assert!((3_100..=5_300).contains(&at), "{at}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_waited_for() {
    let scene = Scene::new();
    let script = async |scene: &Scene| {
        seconds(3).await;
        for end in (1..other().len()).step_by(20) {
            scene.write(&other()[..end]);
            tokio::time::sleep(SETTLE / 2).await;
        }
        scene.write(&other());
        seconds(20).await;
    };
    scene.play(script).await;
    let events = scene.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].1, "good 127.0.0.1:9999 1");
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_is_told_once_and_its_repair_too() {
    let scene = Scene::new();
    let script = async |scene: &Scene| {
        seconds(3).await;
        scene.write("node: n");
        seconds(20).await;
        let events = scene.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].1.starts_with("bad f:1:1: backends: missing"));
        *scene.file.borrow_mut() = Err(());
        seconds(20).await;
        assert_eq!(scene.events()[0].1, "bad f: cannot be read: gone");
        scene.write(GOOD);
        seconds(20).await;
    };
    scene.play(script).await;
    let events = scene.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].1, "unchanged");
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_always_answered() {
    let scene = Scene::new();
    let script = async |scene: &Scene| {
        scene.hup.notify_one();
        tokio::time::sleep(SETTLE * 2).await;
        assert_eq!(scene.events(), [(100, "unchanged".to_owned())]);
        scene.write(&other());
        scene.hup.notify_one();
        tokio::time::sleep(SETTLE * 2).await;
        assert_eq!(scene.events(), [(300, "good 127.0.0.1:9999 1".to_owned())]);
        scene.write("");
        for _ in 0..2 {
            scene.hup.notify_one();
            tokio::time::sleep(SETTLE * 2).await;
            assert!(scene.events()[0].1.starts_with("bad "));
        }
        scene.write(&format!("# a comment\n{}", other()));
        seconds(20).await;
    };
    scene.play(script).await;
    let events: Vec<String> = scene.events().into_iter().map(|(_, e)| e).collect();
    assert_eq!(events, ["unchanged"]);
}

#[tokio::test(start_paused = true)]
async fn an_idl_file_belongs_to_the_content() {
    let scene = Scene::new();
    let script = async |scene: &Scene| {
        seconds(3).await;
        for (content, expected) in [
            (2, "good 127.0.0.1:8888 2"),
            (0, "bad f: bad IDL"),
            // The good one is in force all the time.
            (2, "unchanged"),
            (3, "good 127.0.0.1:8888 3"),
        ] {
            scene.disk.set(content);
            seconds(20).await;
            let events: Vec<String> = scene.events().into_iter().map(|(_, e)| e).collect();
            assert_eq!(events, [expected]);
        }
    };
    scene.play(script).await;
}

/// As Kubernetes does it: `file` -> `..data/file`, and `..data` is swapped by a rename.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_config_map_update_is_seen() {
    use std::fs::{create_dir_all, remove_dir_all, rename, write};
    use std::os::unix::fs::symlink;
    let root = std::env::temp_dir().join(format!("ripcord-watch-{}", std::process::id()));
    for (version, text) in [("v1", GOOD.to_owned()), ("v2", other())] {
        create_dir_all(root.join(version)).unwrap();
        write(root.join(version).join("ripcord.yaml"), text).unwrap();
    }
    symlink("v1", root.join("..data")).unwrap();
    symlink("..data/ripcord.yaml", root.join("ripcord.yaml")).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (file, hup) = (root.join("ripcord.yaml"), Notify::new());
    let following = run(&file, (), (config(GOOD), 0), &hup, move |event| {
        let _ = tell.send(event);
    });
    let script = async {
        symlink("v2", root.join("..next")).unwrap();
        rename(root.join("..next"), root.join("..data")).unwrap();
        told.recv().await.unwrap()
    };
    let event = tokio::select! {
        () = following => panic!("ended"),
        event = script => event,
    };
    remove_dir_all(&root).unwrap();
    let Reload::Good {
        config: found,
        warnings,
        ..
    } = event
    else {
        panic!("{event:?}")
    };
    assert!(warnings.is_empty());
    assert_eq!(found, config(&other()));
}
