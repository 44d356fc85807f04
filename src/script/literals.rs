//! The strings that are written out in the scripts of one engine.
//!
//! What may only ever be said in the operator's own words, such as a statement for a database, is compared with them: a
//! text that a script has put together from what a client sent is none of these, however it was put together.

use rhai::{Engine, ImmutableString, Token};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Every string constant that an engine has read. A string with `${…}` in it is none.
#[derive(Clone, Debug, Default)]
pub struct Literals(Arc<RwLock<HashSet<ImmutableString>>>);

impl Literals {
    /// Those of all that `engine` will read.
    pub fn of(engine: &mut Engine) -> Self {
        let literals = Self::default();
        let read = literals.clone();
        #[expect(
            deprecated,
            reason = "this is how Rhai marks what may change with a version"
        )]
        engine.on_parse_token(move |token, _, _| {
            if let Token::StringConstant(text) = &token {
                let mut read = read.0.write().unwrap_or_else(PoisonError::into_inner);
                read.insert(text.as_str().into());
            }
            token
        });
        literals
    }

    /// Whether `text` is written out in a script.
    pub fn contains(&self, text: &str) -> bool {
        let read = self.0.read().unwrap_or_else(PoisonError::into_inner);
        read.contains(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Limits, compile, engine};

    #[test]
    fn a_text_that_was_put_together_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main.vsl");
        let module = r#"export const IN_MODULE = "in a module";"#;
        std::fs::write(folder.path().join("module.vsl"), module).unwrap();
        let text = r#"
            import "module" as m;
            const A = "select 1";
            const B = `select
            2`;
            let c = 3;
            [`select ${c}`, "select" + " 4", #{ key: "a value" }]
        "#;
        std::fs::write(&main, text).unwrap();
        let mut engine = engine(folder.path(), &Limits::default());
        let literals = Literals::of(&mut engine);
        let ast = compile(&engine, &main).unwrap();
        engine.eval_ast::<rhai::Array>(&ast).unwrap();
        for (text, expected) in [
            ("select 1", true),
            ("select\n            2", true),
            ("select 3", false),
            ("select 4", false),
            ("select", true),
            ("a value", true),
            ("in a module", true),
        ] {
            assert_eq!(literals.contains(text), expected, "{text}");
        }
    }
}
