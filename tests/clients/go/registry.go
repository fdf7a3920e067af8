// What franz-go's sr package asks of a registry.
package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/sr"
)

const (
	itemText   = `{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"sku","type":"string"}]}`
	lineText   = `{"type":"record","name":"Line","namespace":"shop","fields":[{"name":"item","type":"Item"}]}`
	lineText2  = `{"type":"record","name":"Line","namespace":"shop","fields":[{"name":"item","type":"Item"},{"name":"qty","type":"int","default":1}]}`
	importText = `{"type":"record","name":"Imported","fields":[]}`
)

// check says what is wrong unless the two are the same.
func check(what string, got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("%s: got %v, expected %v", what, got, want)
}

// refused says what is wrong unless the error carries the code.
func refused(what string, err error, status, code int) error {
	var told *sr.ResponseError
	if !errors.As(err, &told) {
		return fmt.Errorf("%s: %v is no answer of the registry", what, err)
	}
	return check(what, []int{told.StatusCode, told.ErrorCode}, []int{status, code})
}

func registry(ctx context.Context, url string) error {
	client, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		return err
	}
	return errors.Join(
		schemas(ctx, client),
		settings(ctx, client),
		imported(ctx, client),
	)
}

func schemas(ctx context.Context, client *sr.Client) error {
	item, err := client.CreateSchema(ctx, "go-item", sr.Schema{Schema: itemText})
	if err != nil {
		return err
	}
	line := sr.Schema{Schema: lineText, References: []sr.SchemaReference{{Name: "shop.Item", Subject: "go-item", Version: 1}}}
	first, err := client.CreateSchema(ctx, "go-lines-value", line)
	if err != nil {
		return err
	}
	newer := line
	newer.Schema = lineText2
	fits, err := client.CheckCompatibility(ctx, "go-lines-value", -1, newer)
	if err != nil {
		return err
	}
	second, err := client.CreateSchema(ctx, "go-lines-value", newer)
	if err != nil {
		return err
	}
	byGUID, err := client.SchemaByGUID(ctx, second.GUID)
	if err != nil {
		return err
	}
	ids, err := client.SchemaIDsByGUID(ctx, second.GUID)
	if err != nil {
		return err
	}
	found, err := client.LookupSchema(ctx, "go-lines-value", newer)
	if err != nil {
		return err
	}
	usages, err := client.SchemaReferences(ctx, "go-item", 1)
	if err != nil {
		return err
	}
	text, err := client.SchemaTextByVersion(ctx, "go-lines-value", -1)
	if err != nil {
		return err
	}
	subjects, err := client.SubjectsByID(ctx, item.ID)
	if err != nil {
		return err
	}
	_, incompatible := client.CreateSchema(ctx, "go-lines-value", sr.Schema{Schema: itemText})
	_, unknown := client.SchemaByID(ctx, 999999)
	referenced := client.DeleteSchema(ctx, "go-item", 1, sr.SoftDelete)
	return errors.Join(
		check("versions", []int{first.Version, second.Version}, []int{1, 2}),
		check("compatible", fits.Is, true),
		check("by GUID", byGUID.Schema.Schema, lineText2),
		check("ids by GUID", len(ids), 1),
		check("look-up", []int{found.ID, found.Version}, []int{second.ID, 2}),
		check("referred to by", len(usages), 2),
		check("text", text, lineText2),
		check("subjects by id", slices.Contains(subjects, "go-item"), true),
		refused("incompatible", incompatible, 409, 40901),
		refused("unknown id", unknown, 404, 40403),
		refused("referenced", referenced, 422, 42206),
	)
}

func settings(ctx context.Context, client *sr.Client) error {
	set := client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFullTransitive, Normalize: true}, "go-item")
	got := client.Compatibility(ctx, "go-item")
	reset := client.ResetCompatibility(ctx, "go-item")
	mode := client.SetMode(ctx, sr.ModeReadOnly, "go-item")
	modes := client.Mode(ctx, "go-item")
	_, readOnly := client.CreateSchema(ctx, "go-item", sr.Schema{Schema: importText})
	unset := client.ResetMode(ctx, "go-item")
	contexts, err := client.Contexts(ctx)
	return errors.Join(
		err, set[0].Err, got[0].Err, reset[0].Err, mode[0].Err, modes[0].Err, unset[0].Err,
		check("level", got[0].Level, sr.CompatFullTransitive),
		check("normalize", got[0].Normalize, true),
		check("mode", modes[0].Mode, sr.ModeReadOnly),
		refused("read-only", readOnly, 422, 42205),
		check("default context", slices.Contains(contexts, "."), true),
	)
}

// imported registers under an id of somebody else's, as migration tools do.
func imported(ctx context.Context, client *sr.Client) error {
	if set := client.SetMode(ctx, sr.ModeImport, "go-imported"); set[0].Err != nil {
		return set[0].Err
	}
	made, err := client.CreateSchemaWithIDAndVersion(ctx, "go-imported", sr.Schema{Schema: importText}, 5000, 3)
	if err != nil {
		return err
	}
	soft, err := client.DeleteSubject(ctx, "go-imported", sr.SoftDelete)
	if err != nil {
		return err
	}
	hard, err := client.DeleteSubject(ctx, "go-imported", sr.HardDelete)
	return errors.Join(
		err,
		check("id and version", []int{made.ID, made.Version}, []int{5000, 3}),
		check("deleted", [][]int{soft, hard}, [][]int{{3}, {3}}),
	)
}
