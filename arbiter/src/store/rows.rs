//! Reads rows, the same way on both stores. Each driver has a row type of its own, so the readers are written once and made
//! for both.

/// Makes the readers of one driver's rows. Columns stand in the order of `store/sql.rs`.
macro_rules! row_readers {
    ($row:ty) => {
        fn read_all<T>(
            rows: &[$row],
            read: impl Fn(&$row) -> Result<T, StoreError>,
        ) -> Result<Vec<T>, StoreError> {
            rows.iter().map(read).collect()
        }

        fn read_head(row: &$row) -> Result<Head, StoreError> {
            Ok(Head {
                store_id: row.try_get(0)?,
                incarnation: unsigned(row.try_get(1)?)?,
                epoch: unsigned(row.try_get(2)?)?,
                revision: unsigned(row.try_get(3)?)?,
            })
        }

        fn read_entitlement(row: &$row) -> Result<Entitlement, StoreError> {
            let ends_at_ms: Option<i64> = row.try_get(7)?;
            Ok(Entitlement {
                customer_id: id(row.try_get(0)?)?,
                game_id: id(row.try_get(1)?)?,
                valid_from: unsigned(row.try_get(2)?)?,
                granted_at_ms: unsigned(row.try_get(3)?)?,
                cause: cause(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?)?,
                ends_at_ms: ends_at_ms.map(unsigned).transpose()?,
                from_stock: row.try_get(8)?,
            })
        }

        /// An entitlement, followed by how it ended.
        fn read_ownership(row: &$row) -> Result<Ownership, StoreError> {
            let end = match row.try_get::<Option<i64>, _>(9)? {
                None => None,
                Some(valid_to) => Some(End {
                    valid_to: unsigned(valid_to)?,
                    ended_at_ms: unsigned(row.try_get(10)?)?,
                    cause: cause(row.try_get(11)?, row.try_get(12)?, row.try_get(13)?)?,
                }),
            };
            Ok(Ownership { entitlement: read_entitlement(row)?, end })
        }

        fn read_request(row: &$row) -> Result<StoredRequest, StoreError> {
            let content_hash: &[u8] = row.try_get(1)?;
            Ok(StoredRequest {
                request_id: RequestId::from(row.try_get::<Uuid, _>(0)?),
                content_hash: content_hash
                    .try_into()
                    .map_err(|_| StoreError::Corrupt("a content hash".to_owned()))?,
                outcome: decode_outcome(row.try_get(3)?, unsigned(row.try_get(2)?)?)?,
                decided_at_ms: unsigned(row.try_get(4)?)?,
            })
        }

        fn read_reservation(row: &$row) -> Result<Reservation, StoreError> {
            let status: i16 = row.try_get(3)?;
            Ok(Reservation {
                reservation_id: RequestId::from(row.try_get::<Uuid, _>(0)?),
                customer_id: id(row.try_get(1)?)?,
                game_id: id(row.try_get(2)?)?,
                status: ReservationStatus::from_number(status)
                    .ok_or_else(|| StoreError::Corrupt(format!("the status {status} of a reservation")))?,
                expires_at_ms: unsigned(row.try_get(4)?)?,
                from_stock: row.try_get(5)?,
                changed_at: unsigned(row.try_get(6)?)?,
                changed_at_ms: unsigned(row.try_get(7)?)?,
            })
        }

        fn read_stock(row: &$row) -> Result<Stock, StoreError> {
            Ok(Stock {
                game_id: id(row.try_get(0)?)?,
                total: unsigned(row.try_get(1)?)?,
                sold: unsigned(row.try_get(2)?)?,
                reserved: unsigned(row.try_get(3)?)?,
            })
        }

        fn read_sums(row: &$row) -> Result<Sums, StoreError> {
            record::decode_sums(row.try_get(1)?, unsigned(row.try_get(0)?)?)
        }

        fn read_copy(row: &$row) -> Result<CopyRow, StoreError> {
            Ok(CopyRow {
                name: id(row.try_get(0)?)?,
                version: row.try_get(1)?,
                revision: unsigned(row.try_get(2)?)?,
                digest_state: i32::from(row.try_get::<i16, _>(3)?),
                repaired_partitions: unsigned(row.try_get(4)?)?,
                last_seen_ms: unsigned(row.try_get(5)?)?,
            })
        }

        fn read_key(row: &$row) -> Result<Key, StoreError> {
            Ok((id(row.try_get(0)?)?, id(row.try_get(1)?)?))
        }

        fn read_request_id(row: &$row) -> Result<RequestId, StoreError> {
            Ok(RequestId::from(row.try_get::<Uuid, _>(0)?))
        }

        /// A number, or none for NULL.
        fn read_number(row: &$row) -> Result<Option<u64>, StoreError> {
            row.try_get::<Option<i64>, _>(0)?.map(unsigned).transpose()
        }

        /// Which requests of a page may be forgotten, and the last one of them all; none where no page comes after it.
        fn read_forgettable(
            rows: &[$row],
            before_ms: u64,
            limit: u32,
        ) -> Result<(Vec<RequestId>, Option<RequestId>), StoreError> {
            let mut forgettable = Vec::new();
            let mut last = None;
            for row in rows {
                let request_id = read_request_id(row)?;
                last = Some(request_id);
                let decided_at_ms = unsigned(row.try_get(1)?)?;
                if decided_at_ms < before_ms
                    && request_id.unix_ms().is_none_or(|made_at_ms| made_at_ms < before_ms)
                {
                    forgettable.push(request_id);
                }
            }
            // A page that is not full is the last one: what is written meanwhile is looked at the next time.
            Ok((forgettable, last.filter(|_| rows.len() >= limit as usize)))
        }
    };
}
pub(super) use row_readers;
