//! In which order kernel modules are to be loaded, by the tables that lie beside them.

use std::collections::{BTreeMap, BTreeSet};

/// What `modules.dep` and `modules.builtin` tell of one kernel.
#[derive(Debug)]
pub(super) struct Modules<'a> {
    /// Each module's file, and the files it needs.
    needs: BTreeMap<&'a str, Vec<&'a str>>,
    builtin: BTreeSet<String>,
}

impl<'a> Modules<'a> {
    /// Reads both tables.
    pub(super) fn read(dependencies: &'a str, builtin: &str) -> Self {
        let needs = dependencies.lines().filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            Some((file, needs.split_whitespace().collect()))
        });
        Self { needs: needs.collect(), builtin: builtin.lines().map(name).collect() }
    }

    /// The files of `wanted` and of all they need, each after what it needs itself. What is part of the
    /// kernel has no file.
    pub(super) fn order(&self, wanted: &[&str]) -> anyhow::Result<Vec<&'a str>> {
        let mut order = Vec::new();
        for &module in wanted {
            match self.needs.keys().find(|file| name(file) == name(module)) {
                Some(file) => self.add(file, &mut Vec::new(), &mut order)?,
                None => {
                    anyhow::ensure!(self.builtin.contains(&name(module)), "the kernel has no module {module}")
                }
            }
        }
        Ok(order)
    }

    /// `above` are the files on whose behalf this one is added.
    fn add(&self, file: &'a str, above: &mut Vec<&'a str>, order: &mut Vec<&'a str>) -> anyhow::Result<()> {
        if order.contains(&file) {
            return Ok(());
        }
        anyhow::ensure!(!above.contains(&file), "modules need each other: {above:?}");
        let needs = self.needs.get(file);
        above.push(file);
        for needed in needs.ok_or_else(|| anyhow::anyhow!("modules.dep tells nothing of {file}"))? {
            self.add(needed, above, order)?;
        }
        above.pop();
        order.push(file);
        Ok(())
    }
}

/// A module's name: its file's, without folders and endings. The kernel takes `-` and `_` for the same.
fn name(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache/fscache.ko
kernel/fs/fscache/fscache.ko: kernel/fs/netfs/netfs.ko
kernel/fs/netfs/netfs.ko:
kernel/net/9p/9pnet.ko:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/drivers/virtio/virtio-ring.ko kernel/net/9p/9pnet.ko
kernel/drivers/virtio/virtio-ring.ko:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
kernel/c.ko: kernel/gone.ko
";
    const BUILTIN: &str = "kernel/drivers/virtio/virtio-pci.ko\n";

    fn order(wanted: &[&str]) -> Result<Vec<&'static str>, String> {
        Modules::read(DEPENDENCIES, BUILTIN).order(wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let expected = [
            "kernel/net/9p/9pnet.ko",
            "kernel/fs/netfs/netfs.ko",
            "kernel/fs/fscache/fscache.ko",
            "kernel/fs/9p/9p.ko",
            "kernel/drivers/virtio/virtio-ring.ko",
            "kernel/net/9p/9pnet_virtio.ko.xz",
        ];
        assert_eq!(order(&["9p", "9pnet_virtio", "9p", "virtio_ring"]).unwrap(), expected);
    }

    #[test]
    fn what_is_part_of_the_kernel_is_not_loaded() {
        assert_eq!(order(&["virtio_pci"]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_loaded_is_named() {
        for (wanted, told) in [("unheard_of", "unheard_of"), ("a", "kernel/b.ko"), ("c", "kernel/gone.ko")] {
            let error = order(&[wanted]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
