// Reads a request's body into memory, within the bounds of one request and of all together.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/error.hpp"
#include "net/body_framer.hpp"
#include "net/task.hpp"
#include "proxy/client_connection.hpp"

namespace kw::proxy {

class worker;

// A kept body and its share of the process's budget, given back when it goes.
class kept_body {
  public:
    explicit kept_body(std::atomic<std::int64_t>& budget) noexcept : budget_(budget) {}
    kept_body(const kept_body&) = delete;
    kept_body& operator=(const kept_body&) = delete;
    ~kept_body() { release(); }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    void append(std::string_view piece) {
        text_ += piece;
        budget_.fetch_add(static_cast<std::int64_t>(piece.size()), std::memory_order_relaxed);
    }
    void reserve(std::size_t size) { text_.reserve(size); }
    // No retry will need it any more.
    void release() noexcept {
        budget_.fetch_sub(static_cast<std::int64_t>(text_.size()), std::memory_order_relaxed);
        std::string().swap(text_);
    }

  private:
    std::atomic<std::int64_t>& budget_;
    std::string text_;
};

// Reads all of it. Errors: body_too_large, body_timeout, malformed_request, client_closed,
// overloaded (the budget of kept bodies was full until the time limit).
[[nodiscard]] net::task<result<void>> read_body(worker& w, client_connection& client,
                                                net::body_framer& framer, kept_body& into,
                                                std::size_t limit);

}  // namespace kw::proxy
