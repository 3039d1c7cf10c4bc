//! Several statements that go to the engine in one way. Each way there is two changes of threads, which cost more than most
//! statements do; a create is a dozen statements.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;

use crate::StoreError;
use crate::engine::{Arg, SqlRow, Tx};

/// Statements in their order. The first that fails is the last that runs; whoever writes in a transaction gives it up then.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    /// Each with its arguments numbered from $1, for their plans.
    parts: Vec<String>,
    /// All of them, with the arguments numbered through.
    text: String,
    args: Vec<Arg<'a>>,
    /// The same text comes again, so it is kept prepared.
    is_usual: bool,
}

/// As many rows as a usual person has in a table: the texts that insert so many or fewer are kept prepared.
const USUAL_ROWS: usize = 16;
/// Rows of one `insert`: with 20 columns still far below what both engines take as arguments.
const INSERTED_AT_ONCE: usize = 200;

impl<'a> Script<'a> {
    pub(crate) fn new() -> Self {
        Self { parts: Vec::new(), text: String::new(), args: Vec::new(), is_usual: true }
    }

    /// Adds a statement; its arguments are numbered from $1.
    pub(crate) fn add(&mut self, sql: impl Into<String>, args: impl IntoIterator<Item = Arg<'a>>) {
        let sql = sql.into();
        if !self.text.is_empty() {
            self.text.push_str(";\n");
        }
        number_through(&sql, self.args.len(), &mut self.text);
        self.parts.push(sql);
        self.args.extend(args);
    }

    /// Adds what inserts many rows. `head` ends before the word `values`, `lead` is the first column of each where it is no
    /// argument, `tail` follows the rows; every row has the same number of arguments.
    pub(crate) fn add_rows(&mut self, head: &str, lead: &str, tail: &str, rows: Vec<Vec<Arg<'a>>>) {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let chunk: Vec<Vec<Arg<'a>>> = rows.by_ref().take(INSERTED_AT_ONCE).collect();
            let width = chunk.first().map_or(0, Vec::len);
            self.is_usual &= chunk.len() <= USUAL_ROWS || chunk.len() == INSERTED_AT_ONCE;
            let sql = insert_text(head, lead, tail, chunk.len(), width);
            self.add(sql, chunk.into_iter().flatten());
        }
    }
}

fn insert_text(head: &str, lead: &str, tail: &str, rows: usize, width: usize) -> String {
    let mut sql = format!("{head} values ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        sql.push_str(lead);
        for column in 0..width {
            let comma = if column == 0 && lead.is_empty() { "" } else { ", " };
            let _ = write!(sql, "{comma}${}", row * width + column + 1); // to a text: it cannot fail
        }
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(tail);
    sql
}

/// Writes a statement with the numbers of its arguments moved on by `before`. Our own texts have a `$` nowhere else.
fn number_through(sql: &str, before: usize, to: &mut String) {
    let mut parts = sql.split('$');
    to.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default();
        let _ = write!(to, "${}{rest}", number + before);
    }
}

impl Tx {
    /// Runs a script, and gives the rows that its statements return.
    pub(crate) async fn run_script(&mut self, script: Script<'_>) -> Result<Vec<SqlRow>, StoreError> {
        let Script { parts, text, args, is_usual } = script;
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        for part in parts {
            self.look_at(&part).await;
        }
        self.all_rows(AssertSqlSafe(text), args, is_usual).await
    }

    /// Inserts many rows with few statements, as [`Script::add_rows`] has them.
    pub(crate) async fn insert_rows(
        &mut self,
        head: &str,
        tail: &str,
        rows: Vec<Vec<Arg<'_>>>,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut script = Script::new();
            script.add_rows(head, "", tail, rows.by_ref().take(INSERTED_AT_ONCE).collect());
            self.run_script(script).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbered_through() {
        let mut script = Script::new();
        script.add("update a set b = $2 where c = $1", [1.into(), 2.into()]);
        script.add_rows(
            "insert into d (e, f, g)",
            "(select 1)",
            "on conflict do nothing",
            vec![vec![3.into(), 4.into()], vec![5.into(), 6.into()]],
        );
        script.add("select $1, $10", (7..17).map(Arg::from));
        let expected = "update a set b = $2 where c = $1;\n\
                        insert into d (e, f, g) values ((select 1), $3, $4), ((select 1), $5, $6) on conflict do nothing;\n\
                        select $7, $16";
        assert_eq!((script.text.as_str(), script.args.len()), (expected, 16));
        assert_eq!(script.parts[2], "select $1, $10", "as its plan is looked at");
        assert!(script.is_usual);
        script.add_rows("insert into d (e)", "", "", vec![vec![1.into()]; USUAL_ROWS + 1]);
        assert!(!script.is_usual);
    }
}
