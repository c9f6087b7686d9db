// The head of an HTTP/1.x message: one strict parser that is parser and guard at once.
//
// Request smuggling lives in the gap between two parsers that read the same head differently. So
// exactly one place reads a head, takes nothing that has two readings, and its answer (where the
// head ends, how the body is framed) is what every later stage uses. What it refuses, over and
// above plain nonsense: two Hosts or none, Content-Length twice or beside Transfer-Encoding, any
// Transfer-Encoding but `chunked` or one in HTTP/1.0, folded lines, bare CR or LF, white space
// before a colon, control characters, absolute-form targets, dot segments in any spelling, empty
// lines before the head, `Content_Length` and its like, singletons (credentials) sent twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>

#include "core/error.hpp"

namespace kw::net {

// How the end of a body is found.
enum class framing : std::uint8_t { none, length, chunked, until_close };

enum class parse_status : std::uint8_t { need_more, done, bad };

enum class method_id : std::uint8_t { other, get, head, post, put, patch, del, options };

// Headers that the program asks for by name; all others are `other`.
enum class header_id : std::uint8_t {
    other,
    accept,
    accept_encoding,
    anthropic_version,
    api_key,
    authorization,
    cache_control,
    connection,
    content_encoding,
    content_length,
    content_type,
    cookie,
    date,
    expect,
    forwarded,
    host,
    idempotency_key,
    keep_alive,
    location,
    openai_organization,
    openai_project,
    origin,
    proxy_authenticate,
    proxy_authorization,
    proxy_connection,
    retry_after,
    retry_after_ms,
    server,
    set_cookie,
    te,
    traceparent,
    trailer,
    transfer_encoding,
    upgrade,
    user_agent,
    via,
    x_accel_buffering,
    x_admin_key,
    x_api_key,
    x_forwarded_for,
    x_forwarded_host,
    x_forwarded_proto,
    x_goog_api_key,
    x_real_ip,
    x_request_id,
    x_should_retry,
    count_,
};

// The id of a header's name in any case.
[[nodiscard]] header_id find_header_id(std::string_view name) noexcept;
// Hop-by-hop by its nature (RFC 9110 §7.6.1 and custom), whatever Connection says.
[[nodiscard]] bool is_hop_by_hop(header_id id) noexcept;
// ASCII only.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

struct head_limits {
    std::size_t max_head = 64 * 1024;   // bytes of the head, its blank line included
    std::size_t max_target = 8 * 1024;  // bytes of a request's target
    std::size_t max_headers = 100;      // at most http_head::capacity
};

// Why a head was refused. `message` is fixed text that may be shown to the client.
struct head_fault {
    errc code = errc::ok;
    std::uint16_t status = 0;  // what a client is answered: 400, 414, 417, 431, 501, 505; else 502
    std::string_view message;
};

// Parses one head at a time out of a contiguous buffer that the caller owns; reusable, allocates
// for heads with more headers than most only (about 0.8 KiB, so better a member than a coroutine's
// local: there are two of them for each open stream). Not thread-safe.
//
// Call parse_*() with the buffer's whole content each time it has grown: only new bytes are looked
// at, and the buffer may have moved in between. After `done` all views point into the buffer of
// that call; rebase() moves them along with the bytes. After `bad` or `done`, reset() first.
class http_head {
  public:
    static constexpr std::size_t capacity = 128;
    static constexpr std::size_t at_hand = 32;  // what more there are is allocated

    struct header {
        std::string_view name;   // as sent
        std::string_view value;  // without white space around it
        header_id id = header_id::other;
        bool hop_by_hop = false;  // by nature or named in Connection: not to be forwarded
    };

    class iterator {
      public:
        using value_type = header;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::input_iterator_tag;
        using pointer = void;
        using reference = header;
        iterator(const http_head& of, std::size_t at) noexcept : of_(&of), at_(at) {}
        [[nodiscard]] header operator*() const noexcept { return of_->at(at_); }
        iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        [[nodiscard]] bool operator==(const iterator& o) const noexcept { return at_ == o.at_; }

      private:
        const http_head* of_;
        std::size_t at_;
    };

    explicit http_head(const head_limits& limits = {}) noexcept;

    void reset() noexcept;
    [[nodiscard]] parse_status parse_request(std::string_view buffer) noexcept;
    // head_request: the answer to a HEAD, which has no body whatever its head says.
    [[nodiscard]] parse_status parse_response(std::string_view buffer, bool head_request) noexcept;

    // After `bad`.
    [[nodiscard]] const head_fault& fault() const noexcept { return fault_; }

    // All below: after `done`.
    void rebase(const char* start_of_head) noexcept { base_ = start_of_head; }
    [[nodiscard]] std::size_t consumed() const noexcept { return line_; }
    [[nodiscard]] std::string_view raw() const noexcept { return {base_, line_}; }
    [[nodiscard]] int minor_version() const noexcept { return minor_; }

    // Requests.
    [[nodiscard]] std::string_view method() const noexcept { return view(method_); }
    [[nodiscard]] method_id method_kind() const noexcept { return method_id_; }
    // Origin form, or "*" with OPTIONS. No dot segments, no control characters, plain or encoded.
    [[nodiscard]] std::string_view target() const noexcept { return view(target_); }
    [[nodiscard]] std::string_view path() const noexcept { return view(path_); }
    // Without the question mark; empty when there is none.
    [[nodiscard]] std::string_view query() const noexcept { return view(query_); }
    // "" only in HTTP/1.0.
    [[nodiscard]] std::string_view host() const noexcept { return find(header_id::host); }
    // Without port; an IPv6 literal keeps its brackets.
    [[nodiscard]] std::string_view host_name() const noexcept;
    // The client waits for "100 Continue" before it sends the body.
    [[nodiscard]] bool expect_continue() const noexcept { return expect_continue_; }

    // Responses.
    [[nodiscard]] int status() const noexcept { return status_; }
    [[nodiscard]] std::string_view reason() const noexcept { return view(target_); }
    // 1xx: not the answer, which is still to come.
    [[nodiscard]] bool informational() const noexcept { return status_ >= 100 && status_ < 200; }

    // Both.
    [[nodiscard]] framing body() const noexcept { return framing_; }
    // Of the body that follows; 0 unless body() is `length`.
    [[nodiscard]] std::uint64_t body_length() const noexcept {
        return framing_ == framing::length ? content_length_ : 0;
    }
    // As stated, also where no body follows (HEAD, 304).
    [[nodiscard]] std::optional<std::uint64_t> content_length() const noexcept {
        return has_length_ ? std::optional(content_length_) : std::nullopt;
    }
    // The connection may carry another message after this one.
    [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_; }
    // Connection: upgrade together with an Upgrade header.
    [[nodiscard]] bool wants_upgrade() const noexcept { return upgrade_; }
    [[nodiscard]] std::string_view content_type() const noexcept {
        return find(header_id::content_type);
    }
    // The media type is text/event-stream, whatever its parameters.
    [[nodiscard]] bool is_event_stream() const noexcept;
    [[nodiscard]] std::string_view content_encoding() const noexcept {
        return find(header_id::content_encoding);
    }

    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] header at(std::size_t i) const noexcept;
    [[nodiscard]] iterator begin() const noexcept { return {*this, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {*this, count_}; }
    [[nodiscard]] bool has(header_id id) const noexcept { return first_of(id) != absent; }
    // The first one's value without a scan; "" when absent.
    [[nodiscard]] std::string_view find(header_id id) const noexcept;
    // By name in any case, for names without an id; a scan.
    [[nodiscard]] std::string_view find(std::string_view name) const noexcept;

  private:
    static constexpr std::uint8_t absent = 0xFF;

    struct slice {
        std::uint32_t at = 0;
        std::uint32_t size = 0;
    };
    struct field {
        std::uint32_t name_at;
        std::uint32_t value_at;
        std::uint32_t value_size;
        std::uint16_t name_size;
        header_id id;
        bool hop;
    };

    [[nodiscard]] std::string_view view(slice s) const noexcept { return {base_ + s.at, s.size}; }
    [[nodiscard]] std::uint8_t first_of(header_id id) const noexcept {
        return first_[static_cast<std::size_t>(id)];
    }
    [[nodiscard]] field& field_at(std::size_t i) noexcept {
        return i < at_hand ? fields_[i] : more_[i - at_hand];
    }
    [[nodiscard]] const field& field_at(std::size_t i) const noexcept {
        return i < at_hand ? fields_[i] : more_[i - at_hand];
    }
    [[nodiscard]] parse_status parse(std::string_view buffer) noexcept;
    [[nodiscard]] parse_status wait_for_more(std::string_view buffer) noexcept;
    // These return false after bad(…).
    bool request_line(std::string_view line) noexcept;
    bool status_line(std::string_view line) noexcept;
    bool split_target(std::string_view target) noexcept;
    bool header_line(std::string_view line) noexcept;
    bool finish() noexcept;
    bool read_content_length() noexcept;
    bool read_connection() noexcept;
    bool finish_request() noexcept;
    bool finish_response() noexcept;
    bool bad(std::uint16_t status, std::string_view message,
             errc code = errc::malformed_request) noexcept;
    [[nodiscard]] slice slice_of(std::string_view part) const noexcept;

    head_limits limits_;
    const char* base_ = nullptr;
    std::size_t line_ = 0;     // where the line now read begins; after `done` the head's end
    std::size_t scanned_ = 0;  // up to here there is no further LF
    head_fault fault_;
    std::uint64_t content_length_ = 0;
    slice method_, target_, path_, query_;
    std::uint16_t status_ = 0;
    std::uint8_t count_ = 0;
    std::uint8_t minor_ = 1;
    method_id method_id_ = method_id::other;
    framing framing_ = framing::none;
    bool request_ = true;
    bool head_request_ = false;
    bool started_ = false;  // the first line has been read
    bool done_ = false;
    bool has_length_ = false;
    bool keep_alive_ = false;
    bool upgrade_ = false;
    bool expect_continue_ = false;
    bool connection_close_ = false;
    bool connection_keep_ = false;
    std::array<std::uint8_t, static_cast<std::size_t>(header_id::count_)> first_{};
    std::array<field, at_hand> fields_;
    std::unique_ptr<field[]> more_;  // null, or of capacity - at_hand
};

}  // namespace kw::net
