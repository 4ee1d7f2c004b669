//! What is programmed into an FPGA, and what fits into it: ids of 32 hexadecimal digits.

use crate::discovery::sysfs::Folder;

const DIGITS: usize = 32;

/// The id of the function behind a port (Documentation/ABI/testing/sysfs-platform-dfl-port).
pub(super) fn function(port: &Folder<'_>) -> Result<String, String> {
    read(port, "afu_id")
}

/// The id of the interface that a function must have been built for (Documentation/ABI/testing/
/// sysfs-class-fpga-region), which all regions of an engine share; `None` where there is no region.
pub(super) fn interface(engine: &Folder<'_>) -> Option<Result<String, String>> {
    if let Some((_, region)) = engine.numbered("dfl-fme-region.").into_iter().next() {
        let class = region.below("fpga_region");
        let regions = class.numbered("region");
        let region = regions.first().map_or(&class, |(_, region)| region);
        return Some(read(region, "compat_id"));
    }
    let programmer = engine.below("pr");
    let has_one = !programmer.names("interface_id").is_empty();
    has_one.then(|| read(&programmer, "interface_id"))
}

/// Hardware that does not answer is read as ones.
fn read(folder: &Folder<'_>, attribute: &str) -> Result<String, String> {
    let path = format!("{}/{attribute}", folder.path());
    let text = folder.text(attribute).map_err(|fault| format!("{fault}: wait until it is programmed"))?;
    let text = text.ok_or_else(|| format!("{path} says nothing: program the FPGA, or reload its driver"))?;
    let is_id = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(format!("{path} says {text:?}, no id of {DIGITS} hexadecimal digits: reload its driver"));
    }
    if text.bytes().all(|byte| byte.eq_ignore_ascii_case(&b'f')) {
        return Err(format!("{path} says {text:?}: the FPGA does not answer; reset the card"));
    }
    Ok(text.to_ascii_lowercase())
}
