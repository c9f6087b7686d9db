// The last full set of records, sealed in the data directory, so that a start while the store is
// down can serve.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::store {

struct snapshot {
    std::uint64_t revision = 0;  // the feed's, when it was taken
    std::vector<record> records;
};

// Not for several threads at once. The sealer outlives it.
class snapshot_file {
  public:
    snapshot_file(std::string path, const crypto::sealer& sealer);

    // Replaces the file in one step (mode 0600, synced). errc::internal: could not be written; the
    // old file is untouched then.
    [[nodiscard]] result<void> save(std::uint64_t revision, std::span<const record> records);
    // errc::store_not_found: there is none. errc::invalid_argument: another master key, or damaged.
    [[nodiscard]] result<snapshot> load() const;

  private:
    std::string path_;
    const crypto::sealer& sealer_;
};

}  // namespace kw::store
