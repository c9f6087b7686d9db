// Known answers for the cryptography, and what a sealed text refuses.
#include <catch2/catch.hpp>

#include <set>

#include "core/crypto.hpp"

using namespace kw;
using namespace kw::crypto;

TEST_CASE("what a passphrase sealed opens by it alone") {
    using namespace kw;
    const secret passphrase("correct horse battery");
    const secret plain("canary-plain-text");
    const auto sealed = crypto::seal_by_passphrase(passphrase, plain, "label");
    CHECK(sealed.starts_with("kwp1."));
    CHECK(sealed.find("canary") == std::string::npos);
    CHECK(sealed != crypto::seal_by_passphrase(passphrase, plain, "label"));
    const auto opened = crypto::open_by_passphrase(passphrase, sealed, "label");
    REQUIRE(opened.has_value());
    CHECK(*opened == plain);
    CHECK_FALSE(
        crypto::open_by_passphrase(secret("correct horse batterz"), sealed, "label").has_value());
    CHECK_FALSE(crypto::open_by_passphrase(passphrase, sealed, "another label").has_value());
    for (const std::size_t at : {std::size_t{0}, std::size_t{8}, sealed.size() - 1}) {
        auto changed = sealed;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        CHECK_FALSE(crypto::open_by_passphrase(passphrase, changed, "label").has_value());
    }
    for (const char* wrong : {"", "kwp1.", "kwp1..", "kwp1.AAAA.kw1.x", "kw1.00000000.AAAA"})
        CHECK_FALSE(crypto::open_by_passphrase(passphrase, wrong, "label").has_value());
}

TEST_CASE("digests give the published answers") {
    CHECK(to_hex(sha256("abc")) ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // RFC 4231, test cases 1 and 2
    hmac_sha256 first(secret(std::string(20, '\x0b')));
    CHECK(to_hex(first("Hi There")) ==
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256 second(secret("Jefe"));
    for (int i = 0; i < 2; ++i) {  // a context that is used again gives the same
        CHECK(to_hex(second("what do ya want for nothing?")) ==
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
    hmac_sha256 moved(std::move(second));
    CHECK(moved("x") != first("x"));
    hmac_sha256 empty{secret()};
    CHECK(to_hex(empty("")) == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    CHECK(crc32("123456789") == 0xcbf43926U);
    CHECK(crc32("") == 0);
    CHECK(crc32("The quick brown fox jumps over the lazy dog") == 0x414fa339U);
}

TEST_CASE("base64url has one spelling for each text") {
    // RFC 4648, section 10, without padding
    const std::pair<std::string, std::string> known[] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "__79"}};
    for (const auto& [plain, text] : known) {
        const std::vector<std::uint8_t> bytes(plain.begin(), plain.end());
        CHECK(to_base64url(bytes) == text);
        CHECK(from_base64url(text).value() == plain);
    }
    for (const char* bad : {"Z", "Zg==", "Zh", "Zm9", "+/79", "Zm 9", "Zm9vY"}) {
        INFO(bad);
        CHECK_FALSE(from_base64url(bad).has_value());
    }
}

TEST_CASE("a sealed secret opens for its own record and key only") {
    const sealer mine(secret("0123456789abcdef0123456789abcdef"));
    const secret plain("sk-live-canary");
    const auto sealed = mine.seal(plain, "key_1");
    CHECK(sealed.starts_with("kw1." + mine.key_id() + "."));
    CHECK(sealed.find("canary") == std::string::npos);
    CHECK(mine.open(sealed, "key_1").value() == plain);
    CHECK(mine.seal(plain, "key_1") != sealed);  // another nonce

    CHECK(mine.open(sealed, "key_2").error().code == errc::invalid_argument);
    const sealer other(secret("0123456789abcdef0123456789abcdeg"));
    CHECK_FALSE(other.open(sealed, "key_1").has_value());
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        auto changed = sealed;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        INFO(i);
        CHECK_FALSE(mine.open(changed, "key_1").has_value());
        CHECK_FALSE(mine.open(sealed.substr(0, i), "key_1").has_value());
    }
    CHECK(mine.open(mine.seal(secret(), "r"), "r").value().empty());
}

TEST_CASE("of several master keys one seals and all open") {
    const secret old_key("0123456789abcdef0123456789abcdef");
    const secret new_key("fedcba9876543210fedcba9876543210");
    sealer ring(old_key);
    const auto before = ring.seal(secret("x"), "r");
    const auto old_id = ring.key_id();
    const auto new_id = ring.add(new_key);
    CHECK(ring.add(old_key) == old_id);
    CHECK(ring.key_ids() == std::vector{old_id, new_id});
    CHECK(ring.key_id() == old_id);  // one more key does not seal by itself
    CHECK_FALSE(ring.seal_with("00000000"));
    REQUIRE(ring.seal_with(new_id));
    const auto after = ring.seal(secret("x"), "r");
    CHECK(sealed_by(before) == old_id);
    CHECK(sealed_by(after) == new_id);
    CHECK(ring.open(before, "r").value().reveal() == "x");
    CHECK(ring.open(after, "r").value().reveal() == "x");
    CHECK_FALSE(sealer(old_key).open(after, "r").has_value());
    CHECK_FALSE(sealer(new_key).open(before, "r").has_value());
    // another key's id on the text is no way round
    CHECK_FALSE(ring.open("kw1." + old_id + after.substr(12), "r").has_value());
    for (const char* text : {"", "kw1.", "kw1.0123456", "kw1.01234567", "kw2.01234567.x"})
        CHECK(sealed_by(text).empty());
}

TEST_CASE("a master key of another length is derived, a short one refused") {
    const std::string text = "a passphrase of more than thirty-two characters";
    const sealer a{secret(text)};
    const sealer b{secret(text)};
    CHECK(a.key_id() == b.key_id());
    CHECK(a.key_id().size() == 8);
    CHECK(b.open(a.seal(secret("x"), ""), "").value().reveal() == "x");
    CHECK_THROWS_AS(sealer(secret("0123456789abcdef0123456789abcde")), std::invalid_argument);
}

TEST_CASE("random bytes differ") {
    std::set<digest> seen;
    for (int i = 0; i < 100; ++i) {
        digest d{};
        random_bytes(d);
        seen.insert(d);
    }
    CHECK(seen.size() == 100);
}
