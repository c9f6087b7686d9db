// Descriptors of settings: the one table that the file's reader, the environment's, check-config,
// reload and the documentation are made from.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "config/settings.hpp"

namespace kw::config {

// An enumeration's value; the words are the field's.
struct choice {
    std::uint8_t* value;
};

// Where a value lies, with its type. std::size_t is a size in bytes, std::int64_t inside an
// optional is money.
using slot = std::variant<bool*, std::uint16_t*, std::uint32_t*, std::optional<std::uint32_t>*,
                          std::size_t*, milliseconds*, std::optional<milliseconds>*, std::string*,
                          secret*, std::vector<std::string>*, std::vector<secret>*, choice, flags*,
                          ppm*, std::optional<nanodollars>*, std::optional<wall_time>*>;

namespace detail {
template <class Class, class Member>
Class class_of(Member Class::*);

// The member's slot in the object that owner points to.
template <auto Member>
[[nodiscard]] slot at(void* owner) {
    using owner_type = decltype(class_of(Member));
    auto& value = static_cast<owner_type*>(owner)->*Member;
    using value_type = std::remove_reference_t<decltype(value)>;
    if constexpr (std::is_enum_v<value_type>) {
        static_assert(sizeof(value_type) == 1);
        return choice{reinterpret_cast<std::uint8_t*>(&value)};
    } else {
        return &value;
    }
}

template <auto Member>
[[nodiscard]] void* section_at(void* owner) {
    using owner_type = decltype(class_of(Member));
    return &(static_cast<owner_type*>(owner)->*Member);
}
}  // namespace detail

struct field {
    std::string_view name;
    slot (*at)(void* owner);
    std::string_view help;
    // Other environment variables, most wanted first, separated by blanks; "NAME:ms" means that
    // the variable's plain number is in that unit.
    std::string_view aliases = {};
    std::span<const std::string_view> words = {};  // of choice, flags, and checked string lists
    std::uint64_t min = 0;  // of whole numbers, sizes (bytes) and durations (ms)
    std::uint64_t max = 0;  // 0: what the type holds
    bool live = true;       // takes effect on reload
    bool required = false;  // in the items of a list
    bool early = false;     // needed before the store can be read: nothing in the store changes it
};

struct section {
    std::string_view name;
    void* (*at)(void* owner);
    std::string_view help;
    std::span<const field> fields;
};

// A declared list. Its items are told apart by the field `id`; as a YAML sequence, or as a map
// from id to item if keyed.
struct list {
    std::string_view name;
    std::string_view help;
    std::span<const field> fields;
    std::span<const section> sections;  // inside an item
    std::string_view id;
    bool keyed = false;
    void* (*append)(settings&);  // a new item with its defaults, some taken from the sections
    void* (*item)(settings&, std::size_t index);  // null past the last
    bool (*equal)(const settings&, const settings&);
};

[[nodiscard]] std::span<const section> sections() noexcept;
[[nodiscard]] std::span<const list> lists() noexcept;

// "KEYWHEEL_SERVER_PORT"
[[nodiscard]] std::string variable_name(std::string_view section, std::string_view field = {});

}  // namespace kw::config
