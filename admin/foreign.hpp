// What the readers of foreign documents share: where they put what they find.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "admin/import_formats.hpp"

namespace kw::admin {

[[nodiscard]] error refused_document(std::string why);
// A text, number or truth value as text; "" for others.
[[nodiscard]] std::string scalar(const boost::json::value& v);
[[nodiscard]] std::string trimmed(std::string_view text);

struct foreign_key {
    secret value;
    std::string group;  // "": the one that the import names
    std::string alias;
    std::string notes;
    std::vector<std::string> models;
    std::string weight;
    std::string rpm;
    std::string tpm;
    bool disabled = false;
    bool banned = false;
};

struct foreign_group {
    std::string id;
    std::string name;
    std::string priority;
    std::string provider;
    std::string base_url;
    std::vector<std::string> models;
};

// Bounded: an item too many is a refusal of the whole.
class foreign_reader {
  public:
    foreign_reader(std::string group, const import_makers& make)
        : group_(std::move(group)), make_(make) {}

    result<void> add_key(foreign_key key);
    result<void> add_group(foreign_group group);
    // `data`: its record without id, hash and times.
    result<void> add_access_key(const secret& text, boost::json::object data);
    // Names what was passed over; never a value.
    void ignore(std::string_view what);
    [[nodiscard]] const import_makers& make() const noexcept { return make_; }
    [[nodiscard]] foreign_records finish() && { return std::move(out_); }

  private:
    result<void> count();

    std::string group_;
    const import_makers& make_;
    foreign_records out_;
    std::map<std::string, std::size_t> numbers_;  // keys by group, for their aliases
};

// litellm.cpp
[[nodiscard]] result<void> read_litellm(const import_source& from, foreign_reader& out);
// foreign_access_keys.cpp
[[nodiscard]] result<void> read_access_keys(const import_source& from, foreign_reader& out);

}  // namespace kw::admin
