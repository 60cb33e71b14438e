//! The schemas of tools (JSON Schema 2020-12), made from the types that read their arguments and write their results,
//! so that the schemas match the behaviour.

use std::borrow::Cow;

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
    json_schema,
    transform::{RecursiveTransform, Transform},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{jsonrpc::written, mcp::Tool, params::Integer};

impl Tool {
    /// The definition as it goes out. `A` is what the tool takes, `R` what it returns.
    pub fn define<A: JsonSchema, R: JsonSchema>(&self) -> Box<RawValue> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Definition<'a> {
            #[serde(flatten)]
            tool: &'a Tool,
            input_schema: Schema,
            output_schema: Schema,
        }
        let (input_schema, output_schema) = (schema::<A>(Contract::Deserialize), schema::<R>(Contract::Serialize));
        written(&Definition { tool: self, input_schema, output_schema })
    }
}

fn schema<T: JsonSchema>(contract: Contract) -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.contract = contract;
    settings.inline_subschemas = true;
    settings.meta_schema = None; // MCP's default is 2020-12
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(without_rust).transform(&mut schema);
    schema.remove("description"); // the type's comment, for readers of the code
    schema
}

/// Leaves out what is about Rust: the names of types, and the widths of numbers.
fn without_rust(schema: &mut Schema) {
    schema.remove("title");
    if schema.get("type").is_some_and(|kind| kind == "integer") {
        schema.remove("format");
    }
}

impl<const MINIMUM: u16, const MAXIMUM: u16> JsonSchema for Integer<MINIMUM, MAXIMUM> {
    fn schema_name() -> Cow<'static, str> {
        format!("Integer{MINIMUM}To{MAXIMUM}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MINIMUM, "maximum": MAXIMUM })
    }
}
