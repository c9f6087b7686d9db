// A request as it came in: the head kept byte for byte, the body read, hashed and kept in bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mock/multipart.hpp"
#include "mock/wire.hpp"

namespace kw::mock {

using header_list = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] bool same_name(std::string_view a, std::string_view b) noexcept;
// First value of that name in any case, or empty.
[[nodiscard]] std::string_view find_header(const header_list& in, std::string_view name) noexcept;

// SHA-256 piece by piece.
class hasher {
  public:
    hasher();
    ~hasher();
    hasher(const hasher&) = delete;
    hasher& operator=(const hasher&) = delete;
    void add(std::string_view bytes);
    [[nodiscard]] std::string hex();

  private:
    void* context_;
};
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

// The top level of a JSON object: raw values in place, nested ones skipped by counting brackets. A
// whole parse of every body would cost more than the rest of a benchmark's request.
class json_fields {
  public:
    // False: not one balanced JSON object.
    [[nodiscard]] bool scan(std::string_view body);
    [[nodiscard]] std::string_view raw(std::string_view name) const noexcept;  // "" if absent
    [[nodiscard]] std::string text(std::string_view name) const;               // of a string value
    [[nodiscard]] std::int64_t number(std::string_view name, std::int64_t otherwise) const noexcept;
    [[nodiscard]] const auto& all() const noexcept { return fields_; }
    [[nodiscard]] bool yes(std::string_view name) const noexcept { return raw(name) == "true"; }

  private:
    std::vector<std::pair<std::string_view, std::string_view>> fields_;
};

struct request {
    std::string raw_head;
    std::string method;
    std::string target;
    std::string path;  // without the query, from "/v1" or "/v1beta" on where there is one
    std::string query;
    std::string version;
    header_list headers;
    header_list trailers;

    bool chunked = false;
    bool has_length = false;
    std::uint64_t length = 0;
    bool keep_alive = true;

    std::string body;  // whole for JSON, otherwise the first keep_bytes
    std::uint64_t body_bytes = 0;
    std::unique_ptr<hasher> hash;  // running, once the body is longer than keep_bytes
    std::string body_sha256;       // set when `hash` was used
    std::unique_ptr<multipart_reader> form;
    json_fields json;
    bool is_json = false;
    bool valid_json = false;

    static constexpr std::size_t keep_bytes = 65536;
    static constexpr std::size_t head_limit = 1U << 20;
    static constexpr std::size_t json_limit = 128U << 20;

    [[nodiscard]] std::string_view header(std::string_view name) const noexcept {
        return find_header(headers, name);
    }
    // A field of the JSON or multipart body as text.
    [[nodiscard]] std::string field(std::string_view name) const;
    [[nodiscard]] std::string query_value(std::string_view name) const;
    [[nodiscard]] std::string sha256() const;
    [[nodiscard]] std::string model() const;
    // The key that came in any of the usual places, or empty.
    [[nodiscard]] std::string account() const;
};

enum class read_outcome { ok, closed, bad };

// Waits for and reads a head.
net::task<read_outcome> read_head(wire& from, request& into);
// Reads the body; stops for good after stop_after bytes (a fault).
net::task<read_outcome> read_body(wire& from, request& into, std::uint64_t stop_after);

}  // namespace kw::mock
