//! A saved inventory: one resource of what `discover` printed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::command::document::{Document, Row, VERSION};
use crate::topology::{Part, Topology};

/// Larger than what `discover` prints of the longest device list.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Why an inventory cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It could not be read.
    #[error("cannot read the inventory {path}: give a file that `discover --output json` printed")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// It is too long.
    #[error(
        "the inventory {0} is larger than {MAX_FILE} bytes: leave only the devices of one resource in it"
    )]
    TooLarge(PathBuf),
    /// It is not such a document.
    #[error("the inventory {path} is not what `discover --output json` prints: save its output anew")]
    Document {
        /// The file.
        path: PathBuf,
        /// Which field, at which line.
        source: serde_json::Error,
    },
    /// A field of it is wrong.
    #[error("the inventory {path}: {field} is {value:?}: {fix}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it says.
        value: String,
        /// What to do.
        fix: String,
    },
    /// An id on the command line is not in it.
    #[error(
        "{flag} names {id:?}, which is no device of {resource} in {path}: give ids as the inventory has them"
    )]
    Unlisted {
        /// The flag.
        flag: &'static str,
        /// The id.
        id: String,
        /// The resource asked.
        resource: String,
        /// The file.
        path: PathBuf,
    },
}

/// One resource.
#[derive(Debug)]
pub(crate) struct Inventory {
    path: PathBuf,
    pub(crate) resource: String,
    /// What is listed, in the order of the file.
    pub(crate) units: Vec<Unit>,
    pub(crate) topology: Topology,
    /// By device: its name, and the links that it tells of.
    devices: Vec<(String, BTreeMap<String, u32>)>,
}

/// One advertised id.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) id: String,
    pub(crate) device: usize,
    pub(crate) healthy: bool,
}

impl Inventory {
    /// The devices of `resource` in the file at `path`.
    pub(crate) fn load(path: &Path, resource: &str) -> Result<Inventory, InventoryError> {
        Inventory::parse(&read(path)?, path, resource)
    }

    /// The devices of `resource` in `bytes`, which came from `path`.
    pub(crate) fn parse(bytes: &[u8], path: &Path, resource: &str) -> Result<Inventory, InventoryError> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|source| InventoryError::Document { path: path.to_owned(), source })?;
        check(&document).map_err(|wrong| wrong.of(path))?;
        let known: BTreeSet<String> = document.devices.iter().map(|row| row.resource.clone()).collect();
        let rows: Vec<Row> = document.devices.into_iter().filter(|row| row.resource == resource).collect();
        if rows.is_empty() {
            let known: Vec<_> = known.into_iter().collect();
            let fix = match known.is_empty() {
                true => "it has no device of any resource; save it where `discover` finds some".to_owned(),
                false => format!("give --resource one that it has: {}", known.join(", ")),
            };
            return Err(Wrong::new("no `resource` of a device", resource, &fix).of(path));
        }
        Ok(Inventory::new(path, resource, &rows))
    }

    fn new(path: &Path, resource: &str, rows: &[Row]) -> Inventory {
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let (mut numbers, mut parts, mut units) = (HashMap::new(), Vec::new(), Vec::new());
        for row in rows {
            let key = device_id(&row.id, &ids);
            let device = *numbers.entry(key).or_insert(parts.len());
            if device == parts.len() {
                parts.push(Part { key, parent: row.parent.as_deref(), numa: row.numa, links: &row.links });
            }
            units.push(Unit { id: row.id.clone(), device, healthy: row.health == "Healthy" });
        }
        Inventory {
            path: path.to_owned(),
            resource: resource.to_owned(),
            units,
            topology: Topology::new(&parts),
            devices: parts.iter().map(|part| (part.key.to_owned(), part.links.clone())).collect(),
        }
    }

    pub(crate) fn unit(&self, position: usize) -> Option<&Unit> {
        self.units.get(position)
    }

    /// Whether some device is listed more than once.
    pub(crate) fn is_shared(&self) -> bool {
        self.units.len() > self.devices.len()
    }

    /// Where `ids` are listed, which `flag` names.
    pub(crate) fn positions(&self, flag: &'static str, ids: &[String]) -> Result<Vec<usize>, InventoryError> {
        let listed: HashMap<&str, usize> =
            self.units.iter().enumerate().map(|(position, unit)| (unit.id.as_str(), position)).collect();
        let unlisted = |id: &String| InventoryError::Unlisted {
            flag,
            id: id.clone(),
            resource: self.resource.clone(),
            path: self.path.clone(),
        };
        let mut seen = HashSet::new();
        let new = ids.iter().filter(|id| seen.insert(id.as_str()));
        new.map(|id| listed.get(id.as_str()).copied().ok_or_else(|| unlisted(id))).collect()
    }

    /// The links between devices that only one of the two tells of: from, to.
    pub(crate) fn one_sided(&self) -> Vec<(String, String)> {
        let told: HashMap<&str, &BTreeMap<String, u32>> =
            self.devices.iter().map(|(id, links)| (id.as_str(), links)).collect();
        let mut one_sided = Vec::new();
        for (id, links) in &self.devices {
            let back =
                |other: &&String| told.get(other.as_str()).is_some_and(|links| !links.contains_key(id));
            one_sided.extend(links.keys().filter(back).map(|other| (id.clone(), other.clone())));
        }
        one_sided
    }
}

/// A wrong field.
struct Wrong {
    field: String,
    value: String,
    fix: String,
}

impl Wrong {
    fn new(field: &str, value: &str, fix: &str) -> Wrong {
        Wrong { field: field.to_owned(), value: value.to_owned(), fix: fix.to_owned() }
    }

    fn of(self, path: &Path) -> InventoryError {
        InventoryError::Field { path: path.to_owned(), field: self.field, value: self.value, fix: self.fix }
    }
}

fn check(document: &Document) -> Result<(), Wrong> {
    if document.version != VERSION {
        return Err(Wrong::new("version", &document.version, "this program reads v1"));
    }
    let mut seen = BTreeSet::new();
    for (number, row) in document.devices.iter().enumerate() {
        let field = |name: &str| format!("devices[{number}].{name}");
        if !["Healthy", "Unhealthy"].contains(&row.health.as_str()) {
            return Err(Wrong::new(&field("health"), &row.health, "say Healthy or Unhealthy"));
        }
        if row.id.is_empty() {
            return Err(Wrong::new(&field("id"), "", "give each device an id"));
        }
        if !seen.insert((&row.resource, &row.id)) {
            return Err(Wrong::new(&field("id"), &row.id, "the resource has it already; list each id once"));
        }
    }
    Ok(())
}

/// The device that is listed as `id`, one of `ids`: without the number of a replica.
fn device_id<'a>(id: &'a str, ids: &BTreeSet<&str>) -> &'a str {
    let Some((device, replica)) = id.rsplit_once("::") else { return id };
    let is_replica = replica.parse::<u32>().is_ok() && ids.contains(format!("{device}::0").as_str());
    if is_replica { device } else { id }
}

fn read(path: &Path) -> Result<Vec<u8>, InventoryError> {
    let failed = |source| InventoryError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(InventoryError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}
