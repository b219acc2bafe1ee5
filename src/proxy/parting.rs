//! `goaway: pass`: when callees say that their connections take no new streams, the callers whose
//! streams all sit behind such connections receive the same.
//!
//! Knows no wire: a callee's half reports it ([`Outbound::on_leaving`]), and the caller's connection
//! says it in its own way, as it does in a drain.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::stream::Outbound;

/// One connection of a caller.
#[derive(Default)]
pub(crate) struct Parting {
    /// Its open streams.
    open: Cell<usize>,
    /// Those behind a connection that takes no new streams.
    behind: Cell<usize>,
    /// Says it to the caller. It is called once.
    say: RefCell<Option<Rc<dyn Fn()>>>,
}

impl Parting {
    /// How the caller is told.
    pub(crate) fn set_say(&self, say: Rc<dyn Fn()>) {
        *self.say.borrow_mut() = Some(say);
    }

    fn check(&self) {
        let behind = self.behind.get();
        if behind > 0 && behind == self.open.get() {
            let say = self.say.borrow_mut().take();
            if let Some(say) = say {
                say();
            }
        }
    }
}

/// One stream of such a connection.
pub(crate) struct PartingStream {
    connection: Rc<Parting>,
    /// Whether it is counted as behind.
    behind: Rc<Cell<bool>>,
    watching: Option<Box<dyn Any>>,
}

impl PartingStream {
    pub(crate) fn new(connection: Rc<Parting>) -> Self {
        connection.open.set(connection.open.get() + 1);
        Self {
            connection,
            behind: Rc::default(),
            watching: None,
        }
    }

    /// Its callee's half is there.
    pub(crate) fn opened(&mut self, outbound: &impl Outbound) {
        // The one before, if any, did not take the stream.
        self.watching = None;
        if self.behind.replace(false) {
            self.connection.behind.set(self.connection.behind.get() - 1);
        }
        let (connection, behind) = (Rc::clone(&self.connection), Rc::clone(&self.behind));
        self.watching = outbound.on_leaving(Rc::new(move || {
            if !behind.replace(true) {
                connection.behind.set(connection.behind.get() + 1);
                connection.check();
            }
        }));
    }
}

impl Drop for PartingStream {
    fn drop(&mut self) {
        self.watching = None;
        let connection = &self.connection;
        connection.open.set(connection.open.get() - 1);
        if self.behind.get() {
            connection.behind.set(connection.behind.get() - 1);
        }
        connection.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory_half;

    struct World {
        connection: Rc<Parting>,
        said: Rc<Cell<usize>>,
    }

    fn world() -> World {
        let said = Rc::<Cell<usize>>::default();
        let connection = Rc::<Parting>::default();
        let counted = Rc::clone(&said);
        connection.set_say(Rc::new(move || counted.set(counted.get() + 1)));
        World { connection, said }
    }

    impl World {
        fn stream(&self) -> PartingStream {
            PartingStream::new(Rc::clone(&self.connection))
        }
    }

    /// What the callback of [`PartingStream::opened`] does.
    fn leaves(stream: &PartingStream) {
        stream.behind.set(true);
        let connection = &stream.connection;
        connection.behind.set(connection.behind.get() + 1);
        connection.check();
    }

    #[test]
    fn a_caller_is_told_once_when_all_its_streams_are_behind() {
        let world = world();
        let [one, two] = [world.stream(), world.stream()];
        leaves(&one);
        assert_eq!(world.said.get(), 0);
        leaves(&two);
        assert_eq!(world.said.get(), 1);
        drop((one, two));
        let three = world.stream();
        leaves(&three);
        assert_eq!(world.said.get(), 1);
    }

    #[test]
    fn the_end_of_the_last_other_stream_tells_the_caller_too() {
        let world = world();
        let [one, other, third] = [world.stream(), world.stream(), world.stream()];
        leaves(&one);
        drop(other);
        assert_eq!(world.said.get(), 0);
        drop(third);
        assert_eq!(world.said.get(), 1);
    }

    #[test]
    fn a_stream_that_was_opened_again_elsewhere_is_not_behind() {
        let world = world();
        let [mut moved, other] = [world.stream(), world.stream()];
        leaves(&moved);
        moved.opened(&memory_half(0).0);
        drop(other);
        assert_eq!(world.said.get(), 0);
        leaves(&moved);
        assert_eq!(world.said.get(), 1);
    }

    #[test]
    fn a_caller_without_streams_is_not_told() {
        let world = world();
        let one = world.stream();
        let other = world.stream();
        leaves(&one);
        drop(one);
        drop(other);
        assert_eq!(world.said.get(), 0);
    }
}
