// For tests: batches of records that nobody has written into a journal.
#pragma once

#include <deque>
#include <string>

#include "store/ledger_batch.hpp"
#include "store/ledger_codec.hpp"

namespace kw::store::test {

// Holds what the records of batches view; outlives them.
class batch_bytes {
  public:
    // Appends the record and sums anew.
    void add(ledger_batch& to, const ledger_record& record) {
        auto& bytes = bytes_.emplace_back();
        encode(record, bytes);
        to.encoded.emplace_back(bytes);
        to.records.push_back(*decode_view(bytes));
        to.sums = sum_records(to.records);
    }

  private:
    std::deque<std::string> bytes_;
};

}  // namespace kw::store::test
