//! A scripted file under a paused clock.
