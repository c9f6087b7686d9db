// The records that the data path needs, as the control thread knows them: read from the store's
// change feed, kept typed, turned into the immutable tables of a snapshot.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/key_book.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "pool/pool_view.hpp"
#include "store/snapshot_file.hpp"
#include "store/store.hpp"

namespace kw::jobs {

inline constexpr std::string_view upstream_key_kind = "upstream_key";
inline constexpr std::string_view group_kind = "group";

// Control thread only. Store and sealer outlive it.
class catalog {
  public:
    catalog(store::store& from, const crypto::sealer& sealer);

    // Takes in what changed; true if anything did. errc::store_unavailable: nothing was changed.
    result<bool> refresh();
    // Whether what save() gives has changed since the last call.
    [[nodiscard]] bool take_unsaved() noexcept { return std::exchange(unsaved_, false); }
    // The next refresh takes in everything anew: what could not be opened may open now.
    void read_again() noexcept { revision_ = 0; }
    // Instead of the store while that cannot be reached: the last set that was saved. Fails as the
    // file does; nothing is known then.
    result<void> load(const store::snapshot_file& saved);
    // For saving: what is known now, to be read by any thread. In order of kind and id.
    [[nodiscard]] store::snapshot save();

    [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }
    // Another number after each change of anything but access keys.
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
    // Nothing has been read from the store itself yet.
    [[nodiscard]] bool from_file() const noexcept { return from_file_; }
    // The raw records of a kind, by id. Of access keys there are none: access_keys() has them.
    [[nodiscard]] std::vector<const store::record*> of_kind(std::string_view kind) const;
    // The raw record; null: none.
    [[nodiscard]] const store::record* find(std::string_view kind, std::string_view id) const;
    // Of a record of any kind; 0: none.
    [[nodiscard]] std::uint64_t revision_of(std::string_view kind, std::string_view id) const;

    [[nodiscard]] const std::map<std::string, pool::group_ptr>& groups() const noexcept {
        return groups_;
    }
    [[nodiscard]] const std::map<std::string, pool::key_ptr>& keys() const noexcept {
        return keys_;
    }
    [[nodiscard]] auth::key_book& access_keys() noexcept { return access_; }
    [[nodiscard]] const auth::key_book& access_keys() const noexcept { return access_; }

  private:
    void take(const store::record& r);
    void drop(std::string_view kind, const std::string& id);
    void clear();

    store::store& store_;
    const crypto::sealer& sealer_;
    std::uint64_t revision_ = 0;
    std::uint64_t server_ = 0;  // who told it
    std::uint64_t generation_ = 1;
    bool from_file_ = false;
    bool unsaved_ = false;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<const store::record>, std::less<>>
        records_;
    std::map<std::string, pool::group_ptr> groups_;
    std::map<std::string, pool::key_ptr> keys_;
    auth::key_book access_;
};

}  // namespace kw::jobs
