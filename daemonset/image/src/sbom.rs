//! What the image consists of, as a document of SPDX 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>), which scanners
//! of images look for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::crates::Crate;

/// The document about an image called `name` with these crates, and with these libraries of the machine it was
/// built on. `digest` is one of all of its programs: documents about different images have different names.
pub(crate) fn document(name: &str, digest: &str, crates: &BTreeSet<Crate>, libraries: &[String]) -> Value {
    let mut packages = vec![image(name)];
    packages.extend(crates.iter().map(crate_package));
    // Static programs have it in them, the dynamic one comes with it.
    packages.push(plain("glibc", "LGPL-2.1-or-later"));
    packages.extend(libraries.iter().map(|library| plain(library, "NOASSERTION")));
    let id = |package: &Value| package["SPDXID"].clone();
    let contains = |package: &Value| json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": id(package)});
    let mut relationships: Vec<_> = packages.iter().skip(1).map(contains).collect();
    relationships.push(json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image",
    }));
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://tripod.dev/spdx/{digest}"),
        // No time enters the image, so that the same sources give the same bytes.
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: cargo-image"]},
        "packages": packages,
        "relationships": relationships,
    })
}

fn image(name: &str) -> Value {
    json!({
        "SPDXID": "SPDXRef-image", "name": name, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseDeclared": "Apache-2.0", "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
    })
}

fn crate_package(it: &Crate) -> Value {
    let Crate { name, version, licence, .. } = it;
    json!({
        "SPDXID": reference(&format!("{name}-{version}")),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        // An older way to write OR.
        "licenseDeclared": licence.as_ref().map_or("NOASSERTION".to_owned(), |it| it.replace('/', " OR ")),
        "licenseConcluded": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")),
        }],
    })
}

fn plain(name: &str, licence: &str) -> Value {
    json!({
        "SPDXID": reference(name), "name": name, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseDeclared": licence, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
    })
}

/// Letters, digits, dots and dashes are all that a reference may have.
fn reference(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
    format!("SPDXRef-{}", text.chars().map(allowed).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_told_once_with_its_licence_and_belongs_to_the_image() {
        let part = |name: &str, version: &str, licence: Option<&str>| Crate {
            name: name.into(),
            version: version.into(),
            licence: licence.map(str::to_owned),
            folder: "/src".into(),
            is_own: false,
        };
        let crates =
            [part("ring", "0.17.1+b", Some("MIT/Apache-2.0")), part("odd_one", "1.0.0", None)].into();
        let document = document("tripod:dev", "d1", &crates, &["libgcc_s.so.1".to_owned()]);
        let packages = document["packages"].as_array().unwrap();
        let told: Vec<_> =
            packages.iter().map(|it| [it["SPDXID"].as_str(), it["licenseDeclared"].as_str()]).collect();
        let expected = [
            ["SPDXRef-image", "Apache-2.0"],
            ["SPDXRef-odd-one-1.0.0", "NOASSERTION"],
            ["SPDXRef-ring-0.17.1-b", "MIT OR Apache-2.0"],
            ["SPDXRef-glibc", "LGPL-2.1-or-later"],
            ["SPDXRef-libgcc-s.so.1", "NOASSERTION"],
        ];
        assert_eq!(told, expected.map(|pair| pair.map(Some)));
        let related = document["relationships"].as_array().unwrap();
        assert_eq!(related.len(), packages.len());
        assert_eq!(packages[2]["externalRefs"][0]["referenceLocator"], "pkg:cargo/ring@0.17.1%2Bb");
    }
}
