//! The C face of the module, for a page: three functions and its memory; and one function of the page.
//!
//! ```text
//!   at = alloc(len)      room for a request
//!   …                    the page writes it there
//!   answer = call(at, len)   takes the request back; the answer's place (upper 32 bits) and length (lower)
//!      page.tell(place, length)     meanwhile, any number of times: how far it is; good until it returns
//!   …                    the page reads it
//!   free(place, length)
//! ```
//!
//! A panic is a trap: the page throws the instance away and makes another.

#[link(wasm_import_module = "page")]
unsafe extern "C" {
    /// Takes JSON that is there until it returns.
    safe fn tell(at: *const u8, len: usize);
}

/// Room for `len` bytes; `call` or `free` takes it back.
#[unsafe(no_mangle)]
extern "C" fn alloc(len: usize) -> *mut u8 {
    let bytes = vec![0u8; len].into_boxed_slice();
    Box::into_raw(bytes).cast()
}

/// Takes back what `alloc` or `call` gave.
///
/// # Safety
/// `at` and `len` are those of one `alloc` or `call`, and this is the first time they come back.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(at: *mut u8, len: usize) {
    // SAFETY: by this function's contract it is a boxed slice of that length that nobody else owns.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(at, len)) });
}

/// Answers a request.
///
/// # Safety
/// As `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn call(at: *mut u8, len: usize) -> u64 {
    // SAFETY: as in `free`.
    let request = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(at, len)) };
    let answer = crate::answer(&request, &mut |told| tell(told.as_ptr(), told.len())).into_boxed_slice();
    let len = answer.len() as u64;
    let at = Box::into_raw(answer).cast::<u8>() as u64;
    (at << 32) | len
}
