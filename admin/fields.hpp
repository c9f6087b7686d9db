// What a caller gave: the query's parameters and the body's fields, each read once by name. What
// nobody asked for is unknown, and the first fault is kept with the name of its field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admin/query_params.hpp"
#include "admin/values.hpp"
#include "core/error.hpp"

namespace kw::admin {

[[nodiscard]] error bad_field(std::string_view name, std::string_view why);

struct sort_order {
    std::string by;
    bool descending = false;
};

// ?name=value&…; each name at most once.
class query_fields {
  public:
    // Only those that the table knows may be read.
    query_fields(std::string_view query, std::span<const query_param> known);

    [[nodiscard]] std::optional<std::string> text(const std::string& name);
    [[nodiscard]] std::size_t number(const std::string& name, std::size_t otherwise,
                                     std::size_t least, std::size_t most);
    [[nodiscard]] std::optional<wall_time> time(const std::string& name);
    // The index of the word, `otherwise` when it is not given.
    [[nodiscard]] std::size_t choice(const std::string& name,
                                     const std::vector<std::string_view>& words,
                                     std::size_t otherwise);
    // page and limit.
    [[nodiscard]] page_place place();
    // sort: one of its words in the table, with - before it for the reverse.
    [[nodiscard]] sort_order order(std::string_view otherwise);
    // The first that the table does not know.
    [[nodiscard]] result<void> check_names() const;
    // After all: the first fault, or a parameter that nothing asked for.
    [[nodiscard]] result<void> finish();

  private:
    void fault(std::string_view name, std::string_view why);
    std::span<const query_param> known_;
    std::map<std::string, std::string> values_;
    std::optional<error> fault_;
};

// errc::invalid_argument: not a JSON object. An empty body is an empty object.
[[nodiscard]] result<boost::json::object> parse_object(std::string_view body);

// Takes the fields of a body that need a look; a field that is null counts as not given.
class body_fields {
  public:
    explicit body_fields(const boost::json::object& body) : body_(body) {}

    // null: not given
    [[nodiscard]] const boost::json::value* take(std::string_view name);
    // Also as null.
    [[nodiscard]] bool given(std::string_view name);
    [[nodiscard]] std::optional<std::string> text(std::string_view name, std::size_t most = 4096);
    [[nodiscard]] std::optional<std::uint64_t> whole(std::string_view name);
    // Takes the fields of these names as they are, null included.
    void copy(std::initializer_list<std::string_view> names, boost::json::object& onto);
    void fault(std::string_view name, std::string_view why);
    [[nodiscard]] result<void> finish();

  private:
    const boost::json::object& body_;
    std::set<std::string_view> known_;
    std::optional<error> fault_;
};

// Changes to a stored object: null takes a member away, so that it has its default again.
void lay_over(boost::json::object& onto, const boost::json::object& changes);

}  // namespace kw::admin
