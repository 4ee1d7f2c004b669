//! The `.proto` files say on the wire what the kubelet says. `kubelet-v0.37.1.txt` lists every message,
//! field (number and type) and method as the descriptors inside the Go module k8s.io/kubelet v0.37.1
//! report them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in what it calls as well"
)]

use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

const INTERFACES: [&str; 3] =
    ["deviceplugin/v1beta1/api.proto", "pluginregistration/v1/api.proto", "podresources/v1/api.proto"];

#[test]
fn every_name_number_and_type_is_the_kubelets() {
    let mut ours: Vec<_> = INTERFACES.iter().flat_map(|interface| surface(&compile(interface))).collect();
    ours.sort();
    let kubelet: Vec<_> = include_str!("kubelet-v0.37.1.txt").lines().collect();
    let missing: Vec<_> = kubelet.iter().filter(|line| !ours.iter().any(|o| o == *line)).collect();
    let foreign: Vec<_> = ours.iter().filter(|line| !kubelet.contains(&line.as_str())).collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "missing: {missing:#?}\nnot the kubelet's: {foreign:#?}"
    );
}

fn compile(interface: &str) -> FileDescriptorProto {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    protox::compile([root.join(interface)], [root]).unwrap().file.pop().unwrap()
}

fn surface(file: &FileDescriptorProto) -> Vec<String> {
    let package = file.package();
    let mut lines = Vec::new();
    for message in &file.message_type {
        lines.push(format!("message {package}.{}", message.name()));
        lines.extend(message.field.iter().map(|f| {
            let (name, field, number) = (message.name(), f.name(), f.number());
            format!("field {package}.{name}.{field} = {number} {}", field_type(message, f))
        }));
    }
    for service in &file.service {
        lines.extend(service.method.iter().map(|m| {
            let stream = if m.server_streaming() { "stream " } else { "" };
            let (input, output) =
                (m.input_type().trim_start_matches('.'), m.output_type().trim_start_matches('.'));
            format!("rpc /{package}.{}/{} ({input}) {stream}{output}", service.name(), m.name())
        }));
    }
    lines
}

fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let name = type_name(field);
    let nested = message.nested_type.iter().find(|n| name.ends_with(&format!(".{}", n.name())));
    if let Some(entry) = nested.filter(|n| n.options.as_ref().is_some_and(|o| o.map_entry())) {
        return format!("map<{}, {}>", type_name(&entry.field[0]), type_name(&entry.field[1]));
    }
    match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => format!("repeated {name}"),
        (_, true) => format!("optional {name}"),
        _ => name,
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message => field.type_name().trim_start_matches('.').to_owned(),
        Type::String => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Uint64 => "uint64".to_owned(),
        other => panic!("{} has a type these interfaces do not use: {other:?}", field.name()),
    }
}
