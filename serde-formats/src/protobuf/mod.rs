//! Protobuf: stub, replaced by its owner.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::compatibility::*;
use crate::json_value::EncodeError;
use crate::schema::*;
use crate::validator::*;
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct ProtobufSchema;
impl ProtobufSchema {
    pub fn parse(
        _text: &str,
        _references: &[ResolvedReference],
        _mode: ParseMode,
    ) -> Result<Self, ParseError> {
        todo!()
    }
    pub fn text(&self, _form: TextForm) -> String {
        todo!()
    }
    pub fn record_name(&self) -> Option<String> {
        todo!()
    }
    pub fn is_equivalent(&self, _other: &Self) -> bool {
        todo!()
    }
    pub fn compile(&self) -> Result<ProtobufValidator, CompileError> {
        todo!()
    }
}
#[derive(Debug)]
pub struct ProtobufValidator;
#[derive(Debug, Default)]
pub struct ProtobufScratch;
impl ProtobufValidator {
    pub fn message(&self, _indexes: &[i32]) -> Option<MessageId> {
        todo!()
    }
    pub fn record_name(&self, _message: MessageId) -> Option<&str> {
        todo!()
    }
    pub fn validate(
        &self,
        _message: MessageId,
        _payload: &[u8],
        _options: ValidationOptions,
        _scratch: &mut ProtobufScratch,
    ) -> Result<(), Violation> {
        todo!()
    }
}
pub fn compare(_reader: &ProtobufSchema, _writer: &ProtobufSchema) -> Vec<Incompatibility> {
    todo!()
}
pub fn decode_json(
    _schema: &ProtobufSchema,
    _indexes: &[i32],
    _payload: &[u8],
) -> Result<Value, Violation> {
    todo!()
}
pub fn encode_json(
    _schema: &ProtobufSchema,
    _indexes: &[i32],
    _value: &Value,
) -> Result<Vec<u8>, EncodeError> {
    todo!()
}
