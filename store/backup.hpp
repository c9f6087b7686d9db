// Everything that a store holds as one sealed file, and the way back. A backup is the store as it
// was at one moment: for the embedded store by a transaction, for Redis shard by shard, each with
// its numbers, so that journals that live on send just what is missing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/store.hpp"

namespace kw::store {

// What a backup says of itself.
struct backup_head {
    std::string store;  // store::name() of where it was made
    std::string release;
    wall_time made{};
    std::vector<std::string> master_keys;  // ids of those that what is in it was sealed with
};

struct backup_summary {
    backup_head head;
    std::uint64_t items = 0;  // databases, or keys of Redis
    std::uint64_t bytes = 0;  // of these
};

// Calls block as long as it takes. The file appears when it is whole (mode 0600) and has been read
// again. errc::internal: cannot be written; errc::store_unavailable: the store cannot be read.
// A server may work on the store meanwhile.
[[nodiscard]] result<backup_summary> back_up_embedded(const std::string& data_dir,
                                                      const backup_head& head,
                                                      const std::string& path,
                                                      const crypto::sealer& sealer);
[[nodiscard]] result<backup_summary> back_up_redis(const redis_options& options,
                                                   const backup_head& head, const std::string& path,
                                                   const crypto::sealer& sealer);

// Reads all of it. errc::store_not_found; errc::invalid_argument: a master key is missing, or the
// file is damaged or cut short.
[[nodiscard]] result<backup_summary> check_backup(const std::string& path,
                                                  const crypto::sealer& sealer);

// What is wrong with the backup is found before anything is touched, with check_backup's errors.
// errc::store_conflict: a server runs on it, or it holds data and `replace` was not said. Where one
// is broken off half-way the store opens to no server until another has ended well.
//
// The databases that were there are moved into a folder beside them, which is told.
[[nodiscard]] result<backup_summary> restore_embedded(const std::string& path,
                                                      const crypto::sealer& sealer,
                                                      const std::string& data_dir, bool replace,
                                                      const clock_source& clock,
                                                      std::string* moved_to = nullptr);
[[nodiscard]] result<backup_summary> restore_redis(const std::string& path,
                                                   const crypto::sealer& sealer,
                                                   const redis_options& options, bool replace);

// The file in the data directory that stands there while a restore is not finished.
inline constexpr const char* unfinished_restore = "restore.unfinished";
// Stands for the schema's version in Redis meanwhile: no release has such a one.
inline constexpr const char* restoring_schema = "1000000000";

}  // namespace kw::store
