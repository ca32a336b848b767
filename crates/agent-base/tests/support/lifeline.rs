//! Who of a tree of processes is left.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::Command,
    time::Duration,
};

use tokio::task::JoinHandle;

/// A pipe with a name, of which every process of a tree holds the end to write to: its end is theirs.
pub(crate) struct Lifeline {
    folder: tempfile::TempDir,
    readers: JoinHandle<BufReader<File>>,
}

impl Lifeline {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo is there").success());
        // Opening waits until somebody writes.
        let readers = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(File::open(path).expect("it opens"));
            let mut line = String::new();
            reader.read_line(&mut line).expect("it reads");
            assert_eq!(line, "started\n");
            reader
        });
        Self { folder, readers }
    }

    /// A command that starts children and grandchildren which all hold the pipe, prepares itself, and says that it has started.
    pub(crate) fn command(&self, preparation: &str, body: &str) -> String {
        let tree = "(sleep 1000 & sleep 1000) & sh -c 'trap \"\" TERM; sleep 1000 & wait; sleep 1000' &";
        let pipe = self.folder.path().join("pipe");
        format!("exec 3>'{}'; {tree} {preparation} echo started >&3; {body}", pipe.display())
    }

    pub(crate) async fn started(&mut self) -> BufReader<File> {
        tokio::time::timeout(Duration::from_secs(30), &mut self.readers).await.expect("it starts").expect("it reads")
    }
}

/// Waits for the end of everybody who holds the pipe.
pub(crate) async fn all_gone(mut reader: BufReader<File>) {
    let gone = tokio::task::spawn_blocking(move || std::io::copy(&mut reader, &mut std::io::sink()).expect("it reads"));
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("nobody is left").expect("it reads");
}
