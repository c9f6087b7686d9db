// Reads a request's body into memory, within the bounds of one request and of all together.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "core/error.hpp"
#include "net/body_framer.hpp"
#include "net/task.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/memory_budget.hpp"

namespace kw::proxy {

class worker;

// A kept body and its share of the process's budget, given back when it goes. What is counted is
// the memory it takes, not only the bytes in it.
class kept_body {
  public:
    explicit kept_body(memory_queue& budget) noexcept : share_(budget) {}

    [[nodiscard]] std::string_view text() const noexcept { return {bytes_.get(), size_}; }
    [[nodiscard]] memory_share& share() noexcept { return share_; }
    // Memory that it has, and bytes that can be appended.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::size_t room() const noexcept { return capacity_ - size_; }
    // `bytes` more were granted. Throws std::bad_alloc.
    void enlarge(std::size_t bytes);
    // Of at most room() bytes.
    void append(std::string_view piece) noexcept;
    // No retry will need it any more.
    void release() noexcept;

  private:
    struct freed {
        void operator()(char* p) const noexcept { std::free(p); }
    };

    memory_share share_;
    // By realloc: it moves a large block's pages, not its bytes, and takes no more than is asked.
    std::unique_ptr<char, freed> bytes_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

// How much more memory to ask for: all at once while memory is plenty, otherwise no more than twice
// what has come, so that a body that was only announced holds little. total: the body's length if
// it is known, otherwise its limit and `known` is false.
[[nodiscard]] std::size_t next_growth(std::size_t held, std::size_t total, bool known,
                                      const memory_budget& budget) noexcept;

// Reads all of it. Errors: body_too_large, body_timeout, malformed_request, client_closed,
// overloaded (no memory among all kept bodies until the time limit).
[[nodiscard]] net::task<result<void>> read_body(worker& w, client_connection& client,
                                                net::body_framer& framer, kept_body& into,
                                                std::size_t limit);

}  // namespace kw::proxy
