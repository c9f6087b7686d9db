// The last full set of records, sealed in the data directory, so that a start while the store is
// down can serve.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::store {

using record_sink = std::function<void(const record&)>;

// The records of a moment: `each` hands them out one by one, so that nobody needs them all at once.
struct snapshot {
    std::uint64_t revision = 0;  // the feed's, when it was taken
    std::function<void(const record_sink&)> each;
};

// Not for several threads at once. The sealer outlives it.
class snapshot_file {
  public:
    snapshot_file(std::string path, const crypto::sealer& sealer);

    // Replaces the file in one step (mode 0600, synced). errc::internal: could not be written; the
    // old file is untouched then.
    [[nodiscard]] result<void> save(const snapshot& records);
    // Its revision, after it has handed out every record. errc::store_not_found: there is none.
    // errc::invalid_argument: another master key, or damaged; what was handed out is void.
    [[nodiscard]] result<std::uint64_t> load(const record_sink& to) const;

  private:
    std::string path_;
    const crypto::sealer& sealer_;
};

}  // namespace kw::store
