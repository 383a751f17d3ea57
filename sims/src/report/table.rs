//! Tables of columns, written as Parquet: what pandas, polars and DuckDB read as it is.

use std::{io::Write, sync::Arc};

use codecs::time::Tai;
use parquet::{
    basic::{
        Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
    },
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::{ParquetError, Result},
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{ColumnPath, Type},
};

/// Rows that are written at a time; a reader may skip between them.
const ROWS_PER_GROUP: usize = 1 << 20;

/// Values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Measured; what was not is no number.
    Number(Vec<f64>),
    /// Counted.
    Count(Vec<u64>),
    /// Instants; written as UTC, to the nanosecond.
    Instant(Vec<Tai>),
    /// Names.
    Word(Vec<Arc<str>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Number(values) => values.len(),
            Self::Count(values) => values.len(),
            Self::Instant(values) => values.len(),
            Self::Word(values) => values.len(),
        }
    }

    fn field(&self, name: &str) -> Result<Type> {
        let (physical, logical) = match self {
            Self::Number(_) => (Physical::DOUBLE, None),
            Self::Count(_) => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Self::Instant(_) => {
                (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS)))
            }
            Self::Word(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
    }

    /// How a column is made small: measured values by the bytes of their places, instants by their
    /// differences, names by a dictionary.
    fn encoded(&self, name: &str, to: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        let column = ColumnPath::from(name);
        let plain = |to: WriterPropertiesBuilder, encoding| {
            to.set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column.clone(), encoding)
        };
        match self {
            Self::Number(_) => plain(to, Encoding::BYTE_STREAM_SPLIT),
            Self::Count(_) | Self::Instant(_) => plain(to, Encoding::DELTA_BINARY_PACKED),
            Self::Word(_) => to,
        }
    }

    fn write(
        &self,
        rows: std::ops::Range<usize>,
        to: &mut SerializedColumnWriter<'_>,
    ) -> Result<()> {
        match self {
            Self::Number(values) => {
                to.typed::<DoubleType>().write_batch(&values[rows], None, None)?;
            }
            Self::Count(values) => {
                // Unsigned by its logical type: the same 64 bits.
                let bits: Vec<i64> = values[rows].iter().map(|count| count.cast_signed()).collect();
                to.typed::<Int64Type>().write_batch(&bits, None, None)?;
            }
            Self::Instant(values) => {
                let unix: Vec<i64> = values[rows].iter().map(|at| at.to_unix_nanos()).collect();
                to.typed::<Int64Type>().write_batch(&unix, None, None)?;
            }
            Self::Word(values) => {
                let words: Vec<ByteArray> =
                    values[rows].iter().map(|word| word.as_bytes().to_vec().into()).collect();
                to.typed::<ByteArrayType>().write_batch(&words, None, None)?;
            }
        }
        Ok(())
    }
}

/// Columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<(&'static str, Values)>,
}

impl Table {
    /// The same with one more column.
    pub fn with(mut self, name: &'static str, values: Values) -> Self {
        self.columns.push((name, values));
        self
    }

    /// How many rows: what its shortest column has.
    pub fn rows(&self) -> usize {
        self.columns.iter().map(|(_, values)| values.len()).min().unwrap_or(0)
    }

    /// Writes the table; the same table gives the same bytes.
    ///
    /// # Errors
    /// What the writer says; columns of different lengths; no column.
    pub fn write(&self, to: impl Write + Send) -> Result<()> {
        let rows = self.rows();
        if self.columns.is_empty() || self.columns.iter().any(|(_, values)| values.len() != rows) {
            return Err(ParquetError::General("a table of columns of different lengths".into()));
        }
        let fields = self.columns.iter().map(|(name, values)| values.field(name).map(Arc::new));
        let fields: Vec<_> = fields.collect::<Result<_>>()?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
        let level = ZstdLevel::try_new(3)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        let columns = self.columns.iter();
        let properties =
            columns.fold(properties, |properties, (name, values)| values.encoded(name, properties));
        let mut file =
            SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties.build()))?;
        for first in (0..rows).step_by(ROWS_PER_GROUP) {
            let mut group = file.next_row_group()?;
            for (_, values) in &self.columns {
                let Some(mut column) = group.next_column()? else { break };
                values.write(first..rows.min(first + ROWS_PER_GROUP), &mut column)?;
                column.close()?;
            }
            group.close()?;
        }
        file.close()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::Field,
    };

    use super::*;

    fn table() -> Table {
        let at = Tai::from_rfc3339("2026-11-27T03:07:10.5Z").unwrap();
        Table::default()
            .with("time", Values::Instant(vec![at, at.plus(1_000_000_000)]))
            .with("satellite", Values::Word(vec!["SKY-7".into(), "ÖKO".into()]))
            .with("bytes", Values::Count(vec![7, u64::MAX]))
            .with("elevation_deg", Values::Number(vec![12.25, f64::NAN]))
    }

    #[test]
    fn what_is_written_is_read_with_its_types() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        table().write(&mut first).unwrap();
        table().write(&mut second).unwrap();
        assert_eq!(first, second, "the same table gives the same bytes");
        let reader = SerializedFileReader::new(Bytes::from(first)).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        let values =
            |row: usize| rows[row].get_column_iter().map(|of| of.1.clone()).collect::<Vec<_>>();
        assert_eq!(values(0)[1..3], [Field::Str("SKY-7".into()), Field::ULong(7)]);
        assert_eq!(values(1)[2], Field::ULong(u64::MAX));
        assert_eq!(values(0)[3], Field::Double(12.25));
        // The reader has no field for nanoseconds: it gives the count.
        assert_eq!(values(0)[0], Field::Long(1_795_748_830_500_000_000));
    }

    #[test]
    fn a_table_that_is_none_is_refused_and_an_empty_one_is_a_file() {
        let uneven = table().with("more", Values::Count(vec![1]));
        assert!(uneven.write(Vec::new()).is_err() && Table::default().write(Vec::new()).is_err());
        let mut empty = Vec::new();
        Table::default().with("time", Values::Instant(Vec::new())).write(&mut empty).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(empty)).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
