//! Writes the generated seeds of the fuzz targets to `fuzz/corpus`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for target in ws_tests::seeds::targets() {
        let directory = corpus.join(target.name);
        fs::create_dir_all(&directory)?;
        for (name, bytes) in target.seeds {
            fs::write(directory.join(name), bytes)?;
        }
    }
    Ok(())
}
