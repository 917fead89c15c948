//! Running the tool, and what it is run on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A key in base64.
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another one.
pub(crate) const OTHER_KEY: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHgA=";

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vckctl-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with a key; its path.
    pub(crate) fn key(&self, name: &str, key: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("{key}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn entries(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// How a run ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The one JSON value that was printed.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs the tool.
pub(crate) fn run(words: &[&str]) -> Done {
    run_with(words, "", &[])
}

/// Runs the tool with standard input and environment variables.
pub(crate) fn run_with(words: &[&str], input: &str, variables: &[(&str, &str)]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vckctl"));
    command.args(words).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that takes no key may have ended before it reads.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Makes an image with a FAT file system that uses all of it, and a file in it; the file's content.
pub(crate) fn fat_image(path: &Path, bytes: u64) -> Vec<u8> {
    let file = fs::File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
    fatfs::format_volume(&file, fatfs::FormatVolumeOptions::new()).unwrap();
    let content: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    let fat = fatfs::FileSystem::new(&file, fatfs::FsOptions::new()).unwrap();
    fat.root_dir().create_dir("texts").unwrap();
    let mut text = fat.root_dir().create_file("texts/lines.txt").unwrap();
    text.write_all(&content).unwrap();
    content
}
