// Records on their way out and in: which kinds there are, what of them is secret, and how one is
// checked before it is stored.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/call.hpp"

namespace kw::admin {

// A document's version, written as `keywheel_export`. A reader refuses later ones.
inline constexpr std::int64_t export_format = 1;
// What the sealed form is bound to.
inline constexpr std::string_view export_label = "keywheel export";
inline constexpr std::size_t min_passphrase = 12;

// One record in a document: its stored JSON, with secrets in clear, or without them.
struct parcel {
    std::string kind;
    std::string id;
    std::shared_ptr<boost::json::object> data;  // never null; shared with nobody
};

struct parcels {
    std::vector<parcel> items;
    std::vector<secret> peppers;       // of the access keys' hashes
    std::vector<std::string> ignored;  // what of a foreign document was passed over, and why
};

// What the items of one import have seen of one another.
struct import_state {
    const std::vector<secret>& peppers;
    std::set<std::string> groups;                             // known or about to be
    std::set<std::string> keys;                               // of upstreams, likewise
    std::set<std::pair<std::string, crypto::digest>> values;  // of new upstream keys, by group
    std::set<crypto::digest> hashes;                          // of new access keys
    std::map<crypto::digest, std::string> known_hashes;       // of stored access keys: id
};
[[nodiscard]] import_state begin_import(call& c, const std::vector<secret>& peppers);

// What becomes of an item.
struct verdict {
    enum class what : std::uint8_t { write, skip, refuse } does = what::write;
    std::string reason;
};

struct portable_kind {
    std::string_view kind;
    // Takes out what is secret.
    void (*hide)(const call& c, const std::string& id, boost::json::object& data);
    // Puts secrets in clear; false: they do not open.
    bool (*open)(const call& c, const std::string& id, boost::json::object& data);
    // Checks, and seals again. `before`: the stored record's, null if it is new.
    verdict (*close)(call& c, import_state& state, parcel& item, const boost::json::object* before);
};
// In the order in which they lean on one another.
[[nodiscard]] std::span<const portable_kind> portable_kinds() noexcept;
[[nodiscard]] const portable_kind* find_portable(std::string_view kind) noexcept;

// The names of the API for an access key's record: expires_at, limits, … as the importers give
// them.
[[nodiscard]] bool short_texts(const boost::json::object& data) noexcept;

}  // namespace kw::admin
