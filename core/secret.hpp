// The one type that holds secret text: it prints as ***, compares in constant time, is wiped when
// it goes. Everything that is a provider's key, an access key, a password or a master key is a
// `secret` from the moment it is read until reveal() hands it to a wire.
#pragma once

#include <string>
#include <string_view>

namespace kw {

class secret {
  public:
    secret() = default;
    explicit secret(std::string text) noexcept : text_(std::move(text)) {}
    secret(const secret&) = default;
    secret(secret&& other) noexcept;
    secret& operator=(const secret& other);
    secret& operator=(secret&& other) noexcept;
    ~secret();

    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }

    // The text itself. Call it only where the bytes leave for their addressee.
    [[nodiscard]] std::string_view reveal() const noexcept { return text_; }

    // For lists and logs: the first 3 and last 4 characters of a text of 20 or more
    // ("sk-…wxyz"), "***" for a shorter one.
    [[nodiscard]] std::string masked() const;

    // In time that depends on the lengths only.
    friend bool operator==(const secret& a, const secret& b) noexcept;

  private:
    void wipe() noexcept;
    std::string text_;
};

// In time that depends on the lengths only.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

}  // namespace kw
