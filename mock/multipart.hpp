// multipart/form-data, read as it streams by: small fields kept, files measured and hashed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kw::mock {

class hasher;

struct form_part {
    std::string name;
    std::string filename;
    std::string content;  // the first keep_bytes
    std::uint64_t bytes = 0;
    std::string sha256;
    bool is_file = false;

    static constexpr std::size_t keep_bytes = 1U << 20;
};

class multipart_reader {
  public:
    explicit multipart_reader(std::string boundary);
    ~multipart_reader();

    void feed(std::string_view bytes);
    // The closing boundary has been seen.
    [[nodiscard]] bool complete() const noexcept { return state_ == state::end; }
    [[nodiscard]] const std::vector<form_part>& parts() const noexcept { return parts_; }
    [[nodiscard]] const form_part* find(std::string_view name) const noexcept;
    [[nodiscard]] const form_part* first_file() const noexcept;

  private:
    enum class state { preamble, head, body, end };
    bool step();
    void open_part(std::string_view head);
    void add(std::string_view bytes);
    void close_part();

    std::string delimiter_;  // CRLF "--" boundary
    std::string pending_;
    state state_ = state::preamble;
    std::vector<form_part> parts_;
    std::unique_ptr<hasher> hash_;
};

// The boundary parameter of a content type, or empty.
[[nodiscard]] std::string boundary_of(std::string_view content_type);

}  // namespace kw::mock
