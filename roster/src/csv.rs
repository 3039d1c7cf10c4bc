//! CSV as RFC 4180 has it, strictly: a quote stands only around a whole field, and the end of the file never ends one.
//! What a lenient reader repairs is most often a file that was cut off, or one that says something else.

/// The two separators that spreadsheets write.
pub(crate) const SEPARATORS: [char; 2] = [',', ';'];

/// One record: its line, from 1, and its fields, or what is wrong with it.
pub(crate) struct CsvRecord {
    pub(crate) line: u64,
    pub(crate) fields: Result<Vec<String>, &'static str>,
}

/// Reads records one after another. Empty lines are none.
pub(crate) struct CsvRecords<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    separators: &'a [char],
}

impl<'a> CsvRecords<'a> {
    /// Reads a text whose fields are separated by any of these.
    pub(crate) fn new(text: &'a str, separators: &'a [char]) -> Self {
        Self { text, at: 0, line: 1, separators }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes a line's end, where there is one.
    fn take_line_end(&mut self) -> bool {
        let rest = self.rest();
        let length = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
        self.at += length;
        self.line += u64::from(length > 0);
        length > 0
    }

    fn take_separator(&mut self) -> bool {
        let is_there = self.rest().starts_with(self.separators);
        self.at += usize::from(is_there); // each is one byte
        is_there
    }

    /// A field that begins with a quote, which has been seen.
    fn take_quoted(&mut self) -> Result<String, &'static str> {
        self.at += 1;
        let mut field = String::new();
        loop {
            let Some(end) = self.rest().find('"') else {
                self.line += lines_in(self.rest());
                self.at = self.text.len();
                return Err("a quote is opened and never closed. Perhaps the file is cut off");
            };
            let part = &self.rest()[..end];
            field.push_str(part);
            self.line += lines_in(part);
            self.at += end + 1;
            if !self.rest().starts_with('"') {
                break;
            }
            field.push('"');
            self.at += 1;
        }
        let rest = self.rest();
        let ends = rest.is_empty() || rest.starts_with(['\n', '\r']) || rest.starts_with(self.separators);
        if ends {
            Ok(field)
        } else {
            Err("something stands behind a closing quote. Write a quote within a field twice")
        }
    }

    fn take_plain(&mut self) -> Result<String, &'static str> {
        let ends = |c: char| c == '\n' || c == '\r' || self.separators.contains(&c);
        let field = &self.rest()[..self.rest().find(ends).unwrap_or(self.rest().len())];
        self.at += field.len();
        if field.contains('"') {
            return Err(
                "a quote stands within a field that has none around it. Put quotes around the whole field, and write one \
                 within it twice",
            );
        }
        Ok(field.to_owned())
    }

    /// Goes to the next line, behind a fault.
    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
        self.line += 1;
    }
}

fn lines_in(text: &str) -> u64 {
    u64::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u64::MAX)
}

impl Iterator for CsvRecords<'_> {
    type Item = CsvRecord;

    fn next(&mut self) -> Option<CsvRecord> {
        while self.take_line_end() {}
        if self.rest().is_empty() {
            return None;
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let field = if self.rest().starts_with('"') { self.take_quoted() } else { self.take_plain() };
            match field {
                Ok(field) => fields.push(field),
                Err(what) => {
                    self.skip_line();
                    return Some(CsvRecord { line, fields: Err(what) });
                }
            }
            if self.take_separator() {
                continue;
            }
            if !self.rest().is_empty() && !self.take_line_end() {
                self.skip_line();
                let what = "a carriage return stands alone. End lines with a line feed, or with both";
                return Some(CsvRecord { line, fields: Err(what) });
            }
            return Some(CsvRecord { line, fields: Ok(fields) });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(u64, Option<Vec<String>>)> {
        CsvRecords::new(text, &[',']).map(|record| (record.line, record.fields.ok())).collect()
    }

    #[test]
    fn fields_are_read_as_the_standard_has_them() {
        let fields = |fields: &[&str]| Some(fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>());
        assert_eq!(
            read("a,b\r\n\n\"x \"\"y\"\"\n,z\",\r\nlast,\"\""),
            vec![(1, fields(&["a", "b"])), (3, fields(&["x \"y\"\n,z", ""])), (5, fields(&["last", ""]))]
        );
        assert_eq!(read(""), vec![]);
    }

    #[test]
    fn what_a_lenient_reader_repairs_is_refused() {
        for (text, line) in
            [("a\n\"b", 2), ("a\nb\"c\n", 2), ("a\n\"b\"c,d\n", 2), ("a\rb\n", 1), ("a,\"b\"\r", 1)]
        {
            let wrong: Vec<u64> =
                read(text).into_iter().filter(|(_, fields)| fields.is_none()).map(|(line, _)| line).collect();
            assert_eq!(wrong, vec![line], "{text:?}");
        }
        let behind = read("\"a\"b\nc,d\n");
        assert_eq!(behind[1].0, 2, "reading goes on behind a fault: {behind:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(prop::collection::vec("[a-z\", ;\n\r]{0,6}", 2..5), 0..6)) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let text: String = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n").collect();
            let back: Vec<Vec<String>> = CsvRecords::new(&text, &[',']).map(|record| record.fields.unwrap()).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn any_text_ends(text in "[a\",;\n\r]{0,40}") {
            let lines = lines_in(&text) + 1;
            let mut last = 0;
            for record in CsvRecords::new(&text, &SEPARATORS) {
                prop_assert!(record.line > last && record.line <= lines);
                last = record.line;
            }
        }
    }
}
