//! The file that Node Feature Discovery reads, one of several programs' in its folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "tripod-devices";
/// NFD passes over names that begin with a dot.
const UNFINISHED: &str = ".tripod-devices.new";

/// Our file in a folder of NFD's, or nowhere.
#[derive(Debug)]
pub(crate) struct FeatureFile {
    folder: Option<PathBuf>,
    /// What the file was last made to say, or why it could not be.
    last: Option<Result<String, String>>,
}

impl FeatureFile {
    /// The one in `folder`.
    pub(crate) fn new(folder: Option<PathBuf>) -> FeatureFile {
        FeatureFile { folder, last: None }
    }

    /// Whether there are labels to be written at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.folder.is_some()
    }

    /// Makes the file say `text`, or removes it where that is nothing. It stays when this process ends, as
    /// the devices do.
    pub(crate) async fn write(&mut self, text: String) {
        let Some(folder) = self.folder.clone() else { return };
        if self.last == Some(Ok(text.clone())) {
            return;
        }
        let (path, new) = (folder.join(NAME), text.clone());
        let written = match tokio::task::spawn_blocking(move || replace(&folder, &new)).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let outcome = written.map(|()| text);
        if self.last.as_ref() != Some(&outcome) {
            tell(&path, &outcome);
        }
        self.last = Some(outcome);
    }
}

fn tell(path: &Path, outcome: &Result<String, String>) {
    let file = path.display();
    match outcome {
        Ok(text) => tracing::info!(labels = text.lines().count(), "{file} tells the node's labels"),
        Err(error) => tracing::warn!(
            "cannot write the node's labels to {file}: {error}; have its folder made and mounted for writing, \
             or leave out --nfd-dir"
        ),
    }
}

/// All at once, and not at all where the file says so already.
fn replace(folder: &Path, text: &str) -> io::Result<()> {
    let path = folder.join(NAME);
    let present = match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match (present, text) {
        (None, "") => Ok(()),
        (Some(_), "") => fs::remove_file(&path),
        (Some(bytes), text) if bytes == text.as_bytes() => Ok(()),
        _ => {
            let unfinished = folder.join(UNFINISHED);
            fs::write(&unfinished, text)?;
            fs::rename(&unfinished, &path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_changes_when_its_text_does_and_goes_with_the_last_label() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(folder.path().join("others"), "a=b\n").unwrap();
        let mut file = FeatureFile::new(Some(folder.path().to_owned()));
        file.write("a/b.count=1\n".to_owned()).await;
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
        let first = inode();
        // Of an earlier process too.
        FeatureFile::new(Some(folder.path().to_owned())).write("a/b.count=1\n".to_owned()).await;
        assert_eq!(inode(), first);
        file.write("a/b.count=2\n".to_owned()).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "a/b.count=2\n");
        file.write(String::new()).await;
        let left: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["others"]);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_not_made_and_is_tried_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("features.d");
        let mut file = FeatureFile::new(Some(folder.clone()));
        file.write("a/b.count=1\n".to_owned()).await;
        assert!(!folder.exists());
        fs::create_dir(&folder).unwrap();
        file.write("a/b.count=1\n".to_owned()).await;
        assert_eq!(fs::read_to_string(folder.join(NAME)).unwrap(), "a/b.count=1\n");
    }
}
